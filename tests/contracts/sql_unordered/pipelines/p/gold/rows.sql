SELECT id, CAST(row_number() OVER (PARTITION BY kind) AS BIGINT) AS n FROM silver.items
