SELECT id FROM items UNION ALL SELECT id FROM ops.runs UNION ALL SELECT id FROM lake.silver.items
