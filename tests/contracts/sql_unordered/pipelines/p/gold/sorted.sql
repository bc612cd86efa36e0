SELECT kind, ARRAY_SORT(ARRAY_AGG(id) FILTER (WHERE id <> 'x')) AS ids FROM silver.items GROUP BY kind
