SELECT u.id FROM silver.items AS i CROSS JOIN UNNEST(i.tags) AS u(id)
