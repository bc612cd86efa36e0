SELECT i.id FROM silver.items i RIGHT JOIN silver.words w ON w.k = i.kind
