SELECT id, (SELECT count(*) FROM silver.words) AS n FROM silver.items
