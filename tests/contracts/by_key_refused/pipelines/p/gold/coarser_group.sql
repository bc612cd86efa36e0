SELECT count(*) AS n, CAST(date_trunc('month', day) AS DATE) AS month FROM silver.items GROUP BY 2
