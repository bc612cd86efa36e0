SELECT id FROM gold.own
