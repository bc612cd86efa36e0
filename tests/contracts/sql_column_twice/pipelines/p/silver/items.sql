SELECT id, day, n, kind, tags, at, e.kind AS id FROM bronze.events AS e
