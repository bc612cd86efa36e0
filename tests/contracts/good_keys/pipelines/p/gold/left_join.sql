SELECT i.id, w.k FROM silver.items i LEFT JOIN silver.words w ON w.item_id = i.id AND w.k <> 'x'
