SELECT a.id FROM silver.items a JOIN silver.items b ON a.id = b.kind
