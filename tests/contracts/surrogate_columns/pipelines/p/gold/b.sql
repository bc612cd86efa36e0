SELECT id, 1 AS number FROM silver.items
