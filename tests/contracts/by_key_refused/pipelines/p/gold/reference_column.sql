SELECT k.kind AS id FROM silver.items i LEFT JOIN reference.kinds k ON k.spelling = i.kind
