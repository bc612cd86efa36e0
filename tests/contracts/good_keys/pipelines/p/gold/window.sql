SELECT id, CAST(row_number() OVER (PARTITION BY day, id ORDER BY n, at) AS BIGINT) AS n, CAST(date_trunc('month', day) AS DATE) AS month FROM silver.items
