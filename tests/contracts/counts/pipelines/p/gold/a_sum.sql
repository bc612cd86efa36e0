SELECT day, COUNT(DISTINCT id) AS ids, SUM(n) AS n FROM silver.items GROUP BY day
