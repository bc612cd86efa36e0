--- description = "Q"
--- [params.x]
--- type = "BOOLEAN"
--- comment = "c"
SELECT id FROM silver.items WHERE day > $x
