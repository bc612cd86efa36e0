SELECT id, 'item' AS k FROM silver.items UNION ALL SELECT item_id, 'word' FROM silver.words
