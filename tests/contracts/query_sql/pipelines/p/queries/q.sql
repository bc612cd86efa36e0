--- description = "Q"
SELECT idd FROM silver.items
