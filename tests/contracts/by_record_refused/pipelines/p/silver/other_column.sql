SELECT e.id FROM bronze.events e LEFT JOIN reference.kinds k ON k.kind = e.kind
