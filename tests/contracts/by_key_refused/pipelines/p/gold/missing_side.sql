SELECT w.item_id AS id FROM silver.items i LEFT JOIN silver.words w ON i.id = w.item_id
