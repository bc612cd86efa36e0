--- description = "Q"
--- [params.x
SELECT id FROM silver.items
