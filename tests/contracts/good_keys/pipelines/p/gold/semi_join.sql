SELECT i.id FROM silver.items i LEFT SEMI JOIN silver.words w ON w.item_id = i.id
