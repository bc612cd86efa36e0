SELECT i.n FROM silver.items i JOIN silver.words w ON lower(i.id) = lower(w.item_id)
