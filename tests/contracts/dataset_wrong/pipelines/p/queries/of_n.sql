--- description = "Items with an n."
--- [params.n]
--- type = "BIGINT"
--- comment = "The n."
SELECT id, tags FROM silver.items WHERE n = $n
