SELECT id, day, n, kind, tags, at FROM silver.items
