SELECT id FROM silver.items EXCEPT SELECT item_id FROM silver.words
