SELECT id FROM silver.items LIMIT 3
