SELECT id, day FROM silver.items
