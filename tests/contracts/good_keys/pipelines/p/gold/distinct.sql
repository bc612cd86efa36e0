SELECT DISTINCT id, kind AS k FROM silver.items ORDER BY id
