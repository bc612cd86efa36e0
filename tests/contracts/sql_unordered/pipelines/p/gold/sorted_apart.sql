SELECT kind, array_sort(array_remove(array_agg(id), 'x')) AS ids FROM silver.items GROUP BY kind
