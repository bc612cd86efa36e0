SELECT k.kind, count(i.id) AS items FROM reference.kinds AS k LEFT JOIN silver.items AS i ON i.kind = k.kind GROUP BY k.kind
