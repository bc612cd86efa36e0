SELECT id FROM bronze.events WHERE id IN (SELECT kind FROM reference.kinds)
