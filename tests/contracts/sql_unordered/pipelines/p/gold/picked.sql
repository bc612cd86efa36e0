SELECT DISTINCT ON (kind) id FROM silver.items
