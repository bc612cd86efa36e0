SELECT id,
  FROM FROM bronze.events
