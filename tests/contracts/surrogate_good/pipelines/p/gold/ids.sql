SELECT DISTINCT id FROM silver.items
