SELECT id FROM silver.items UNION ALL SELECT kind FROM reference.kinds
