--- description = "Q"
SELECT id FROM silver.item
