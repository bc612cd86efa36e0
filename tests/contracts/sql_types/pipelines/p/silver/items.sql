SELECT id, CAST(day AS STRING) AS day, n + 0.5 AS n, kind, make_array(1) AS tags, CAST(at AS TIMESTAMP) AS at FROM bronze.events
