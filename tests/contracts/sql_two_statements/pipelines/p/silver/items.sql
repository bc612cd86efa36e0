SELECT id FROM bronze.events;
SELECT 1
