SELECT id, day, array_length(tags) AS n, kind, tags, at FROM bronze.events
