SELECT day, upper(kind) AS kind, COUNT(*) AS n, COUNT(n) FILTER (WHERE n > 1) AS large, COUNT(DISTINCT substr(id, 1, 1)) AS letters
FROM silver.items
WHERE kind IS NOT NULL
GROUP BY day, upper(kind)
