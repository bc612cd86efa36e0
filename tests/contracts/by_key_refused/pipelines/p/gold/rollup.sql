SELECT id, count(*) AS n FROM silver.items GROUP BY ROLLUP(id)
