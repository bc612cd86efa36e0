SELECT id, day, n, kind, tags, at
FROM bronze.event AS e LEFT JOIN reference.kind AS k ON k.spelling = e.kind
