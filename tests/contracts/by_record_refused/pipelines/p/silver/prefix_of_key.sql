SELECT e.id FROM bronze.events e LEFT JOIN reference.kinds k ON substr(k.spelling, 1, 1) = e.kind
