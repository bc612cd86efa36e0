SELECT trim(id) AS id, max(kind) AS previous FROM silver.items GROUP BY trim(id)
