SELECT a.id, w.k FROM silver.items a JOIN silver.words w ON a.id = w.item_id AND a.kind = w.k
