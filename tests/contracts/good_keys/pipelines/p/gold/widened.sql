SELECT CAST(n AS INT) AS n, count(*) AS c FROM silver.items GROUP BY 1
