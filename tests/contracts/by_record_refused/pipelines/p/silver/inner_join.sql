SELECT e.id FROM bronze.events e JOIN reference.kinds k ON k.spelling = e.kind
