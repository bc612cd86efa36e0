SELECT id, kind AS item_id, kind AS k FROM bronze.events
