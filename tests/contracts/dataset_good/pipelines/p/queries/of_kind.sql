--- description = "Items of a kind."
--- [params.kind]
--- type = "STRING"
--- comment = "The kind."
SELECT id, tags FROM silver.items WHERE kind = $kind
