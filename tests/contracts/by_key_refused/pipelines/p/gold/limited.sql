SELECT id FROM silver.items ORDER BY id LIMIT 3
