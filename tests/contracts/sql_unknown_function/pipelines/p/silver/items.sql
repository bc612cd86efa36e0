SELECT id, day, n, uper(kind) AS kind, tags, at FROM bronze.events
