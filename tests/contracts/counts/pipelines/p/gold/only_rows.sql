SELECT day, COUNT(*) AS n FROM silver.items GROUP BY day
