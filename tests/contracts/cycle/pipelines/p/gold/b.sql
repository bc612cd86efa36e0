SELECT id FROM silver.items
UNION ALL SELECT id FROM gold.c
