SELECT id FROM bronze.events GROUP BY id
