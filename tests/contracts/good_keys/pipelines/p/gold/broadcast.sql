SELECT i.id, w.k FROM silver.items i LEFT JOIN silver.words w ON w.k = i.kind
