SELECT max(id) AS id FROM silver.items
