SELECT id FROM bronze.events
