SELECT id, day, CAST(random() * 10 AS BIGINT) AS n, kind, tags,
  current_timestamp AS at FROM bronze.events
