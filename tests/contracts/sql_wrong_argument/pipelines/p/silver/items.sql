SELECT id, day, abs(kind) AS n, kind, tags, at FROM bronze.events
