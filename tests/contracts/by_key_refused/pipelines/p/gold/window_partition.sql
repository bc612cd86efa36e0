SELECT id, sum(n) OVER (PARTITION BY kind) AS n FROM silver.items
