SELECT day, COUNT(DISTINCT id) + COUNT(*) AS n FROM silver.items GROUP BY day
