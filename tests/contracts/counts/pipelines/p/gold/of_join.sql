SELECT i.kind AS k, i.day, COUNT(DISTINCT i.id) AS items, COUNT(w.k) FILTER (WHERE i.n = 1) AS ones
FROM silver.items AS i
LEFT JOIN silver.words AS w ON i.id = w.item_id AND i.kind = w.k
LEFT JOIN reference.kinds AS r ON i.kind = r.kind
GROUP BY i.kind, i.day
