SELECT i.id FROM silver.items i FULL JOIN silver.words w ON i.id = w.item_id
