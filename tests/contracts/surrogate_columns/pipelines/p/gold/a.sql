SELECT id, kind AS previous FROM silver.items
