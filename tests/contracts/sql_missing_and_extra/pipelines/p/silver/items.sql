SELECT id, day, n, kind AS kynd, at, id AS other FROM bronze.events
