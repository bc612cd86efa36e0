SELECT u.id FROM bronze.events e CROSS JOIN UNNEST(e.tags) AS u(id)
