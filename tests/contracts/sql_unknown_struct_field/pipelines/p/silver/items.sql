SELECT content['idd'] AS id, day, n, kind, tags, at FROM bronze.events
