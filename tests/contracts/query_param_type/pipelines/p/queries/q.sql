--- description = "Q"
--- [params.x]
--- type = "ARRAY<STRING>"
--- comment = "c"
--- [params.y]
--- type = "STRNG"
--- comment = "c"
SELECT id FROM silver.items WHERE kind = $x AND id = $y
