SELECT m.item_id AS id FROM silver.items i, silver.words w, silver.more m WHERE i.id = w.item_id AND w.item_id = m.item_id
