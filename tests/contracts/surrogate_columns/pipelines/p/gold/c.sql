SELECT id, kind FROM silver.items
