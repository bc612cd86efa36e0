SELECT day, COUNT(DISTINCT id) AS ids, COUNT(DISTINCT kind) AS kinds FROM silver.items GROUP BY day
