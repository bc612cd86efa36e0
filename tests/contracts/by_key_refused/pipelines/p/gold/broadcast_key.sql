SELECT w.id FROM silver.items i JOIN silver.words w ON w.k = i.kind
