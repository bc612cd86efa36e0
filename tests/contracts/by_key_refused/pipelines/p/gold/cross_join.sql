SELECT i.id FROM silver.items i CROSS JOIN silver.words w
