SELECT id, day, n, kind, tags, at INTO other FROM bronze.events
