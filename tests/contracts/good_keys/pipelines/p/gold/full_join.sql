SELECT coalesce(i.id, w.item_id) AS id FROM silver.items i FULL JOIN silver.words w ON w.item_id = i.id
