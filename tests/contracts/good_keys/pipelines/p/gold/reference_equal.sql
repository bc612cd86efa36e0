SELECT k.kind AS id FROM silver.items i JOIN reference.kinds k ON k.kind = i.kind
