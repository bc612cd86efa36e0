SELECT day, COUNT(DISTINCT id) AS ids FROM silver.items GROUP BY day
