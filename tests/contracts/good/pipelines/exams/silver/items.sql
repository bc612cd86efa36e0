-- one row an item
SELECT e.id, e.day, e.n, coalesce(k.kind, upper(trim(e.kind))) AS kind, e.tags, e.at
FROM bronze.events AS e
LEFT JOIN reference.kinds AS k ON lower(trim(k.spelling)) = lower(trim(e.kind))
