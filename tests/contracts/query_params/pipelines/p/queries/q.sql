--- description = "Q"
--- [params.kind]
--- type = "STRING"
--- comment = "c"
--- [params.unused]
--- type = "STRING"
--- comment = "c"
SELECT id FROM silver.items
WHERE kind = $knd AND day > $when
