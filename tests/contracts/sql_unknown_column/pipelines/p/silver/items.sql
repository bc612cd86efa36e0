SELECT id, day, n,
  knd AS kind, e.tags, e.aat AS at FROM bronze.events AS e
