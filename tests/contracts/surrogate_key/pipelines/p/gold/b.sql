SELECT tags FROM silver.items
