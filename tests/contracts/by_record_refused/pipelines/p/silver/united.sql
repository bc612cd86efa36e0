SELECT id FROM bronze.events UNION ALL SELECT kind FROM bronze.events
