SELECT DISTINCT ON (kind) id FROM silver.items ORDER BY kind, id
