SELECT i.id FROM silver.items i JOIN silver.words w ON i.id = w.item_id JOIN silver.more m ON w.item_id = m.item_id
