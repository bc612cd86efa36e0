SELECT 'all' AS id, count(*) AS n FROM silver.items
