--- description = "All"
SELECT id FROM silver.items
