SELECT i.id FROM silver.items i JOIN silver.words w ON w.item_id = i.id
