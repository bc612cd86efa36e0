WITH RECURSIVE r AS (SELECT id FROM silver.items UNION ALL SELECT w.item_id FROM silver.words w JOIN r ON w.id = r.id) SELECT id FROM r
