SELECT id, day, n, kind, tags, at FROM gold.g
