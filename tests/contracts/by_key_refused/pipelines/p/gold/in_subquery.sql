SELECT id FROM silver.items WHERE id IN (SELECT item_id FROM silver.words)
