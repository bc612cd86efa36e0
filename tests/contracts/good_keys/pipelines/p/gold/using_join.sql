SELECT id FROM silver.items JOIN silver.words USING (id)
