SELECT id FROM bronze.events WHERE kind = 'x
