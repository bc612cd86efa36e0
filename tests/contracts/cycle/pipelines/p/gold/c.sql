SELECT id FROM gold.a
