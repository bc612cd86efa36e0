WITH counted AS (SELECT item_id, count(*) AS notes FROM silver.notes GROUP BY item_id)
SELECT i.id, coalesce(c.notes, 0) AS notes FROM silver.items AS i LEFT JOIN counted AS c ON c.item_id = i.id
