SELECT i.id FROM silver.words w RIGHT JOIN silver.items i ON w.item_id = i.id
