SELECT e.id FROM reference.kinds k LEFT JOIN bronze.events e ON k.spelling = e.kind
