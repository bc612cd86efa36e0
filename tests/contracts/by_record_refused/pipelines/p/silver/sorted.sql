SELECT id FROM bronze.events ORDER BY id
