SELECT id FROM (SELECT id, count(*) OVER (PARTITION BY id) AS c FROM bronze.events) WHERE c > 1
