DELETE FROM bronze.events
