SELECT DISTINCT id FROM bronze.events
