SELECT max(id) AS id, kind AS k FROM silver.items GROUP BY kind
