SELECT i.id FROM reference.kinds k LEFT JOIN silver.items i ON i.kind = k.kind
