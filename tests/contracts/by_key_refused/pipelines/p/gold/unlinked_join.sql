SELECT i.id FROM silver.items i JOIN silver.words w ON i.kind = w.k
