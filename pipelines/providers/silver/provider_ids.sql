SELECT f.identity, f.previous_identity
FROM silver.file_providers AS f
UNION ALL
SELECT c.identity, CAST(NULL AS STRING) AS previous_identity
FROM silver.clinic_providers AS c
