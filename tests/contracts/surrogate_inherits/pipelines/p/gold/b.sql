SELECT id, n AS previous FROM silver.items
