SELECT i.day, w.k, COUNT(DISTINCT i.id) AS items, COUNT(DISTINCT i.id) FILTER (WHERE i.n = 1) AS ones
FROM silver.items AS i
LEFT JOIN silver.words AS w ON i.id = w.item_id
LEFT JOIN reference.kinds AS r ON i.kind = r.kind
GROUP BY i.day, w.k
