SELECT n FROM silver.items
