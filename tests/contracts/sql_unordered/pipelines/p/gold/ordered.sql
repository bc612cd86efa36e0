SELECT kind, array_agg(id ORDER BY id) AS ids FROM silver.items GROUP BY kind
