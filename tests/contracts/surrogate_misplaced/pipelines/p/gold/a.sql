SELECT id, kind AS previous, 1 AS number FROM silver.items
