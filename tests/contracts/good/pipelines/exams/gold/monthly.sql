SELECT CAST(date_trunc('month', day) AS DATE) AS month, kind, count(*) AS items, count(DISTINCT id) AS people
FROM silver.items
WHERE day IS NOT NULL AND kind IS NOT NULL
GROUP BY 1, 2
