SELECT i.id FROM silver.items i WHERE EXISTS (SELECT 1 FROM silver.words w WHERE w.item_id = i.id)
