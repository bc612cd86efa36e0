--- description = "Q"
--- [params.x]
--- typ = "STRING"
--- comment = 3
SELECT id FROM silver.items WHERE id = $x
