SELECT id, day, n, kind['x'] AS kind, tags, at FROM bronze.events
