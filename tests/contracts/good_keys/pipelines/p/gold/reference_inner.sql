SELECT i.id FROM reference.kinds k JOIN silver.items i ON k.kind = i.kind
