SELECT kind, array_agg(id) AS ids FROM silver.items GROUP BY kind
