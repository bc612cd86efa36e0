SELECT id, kind, kind AS previous FROM silver.items
