SELECT id FROM bronze.provider WHERE _key IS NOT NULL
