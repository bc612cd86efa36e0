SELECT e.id FROM bronze.events e LEFT JOIN silver.items i ON i.id = e.id
