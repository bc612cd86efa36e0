SELECT id FROM gold.b
