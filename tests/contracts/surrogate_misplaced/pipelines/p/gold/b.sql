SELECT id FROM silver.items
