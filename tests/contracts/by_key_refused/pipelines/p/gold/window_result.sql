SELECT CAST(row_number() OVER (PARTITION BY kind ORDER BY id) AS BIGINT) AS n, id FROM silver.items
