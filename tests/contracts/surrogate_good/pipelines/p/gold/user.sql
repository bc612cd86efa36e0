SELECT i.id, n.number FROM silver.items AS i JOIN gold.ids AS n ON i.id = n.id
