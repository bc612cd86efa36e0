SELECT id
FROM silver.items AS a JOIN silver.items AS b ON a.n = b.n
