SELECT unnest(tags) AS id FROM silver.items
