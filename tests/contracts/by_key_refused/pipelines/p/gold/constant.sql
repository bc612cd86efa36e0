SELECT 'x' AS id, i.n FROM silver.items i
