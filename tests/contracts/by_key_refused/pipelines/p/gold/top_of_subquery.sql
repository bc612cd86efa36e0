SELECT id FROM (SELECT id FROM silver.items ORDER BY n, id LIMIT 3)
