SELECT id, day, n, kind, tags, at FROM bronze.events
