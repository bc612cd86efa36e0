SELECT u.identity, MIN(u.previous_identity) AS previous_identity, MIN(CAST(ASCII(MD5(u.identity)) * 1000 + ASCII(SUBSTR(MD5(u.identity),3)) AS INT)) AS provider_id FROM (
SELECT f.identity, f.previous_identity
FROM silver.file_providers AS f
UNION ALL
SELECT c.identity, CAST(NULL AS STRING) AS previous_identity
FROM silver.clinic_providers AS c
) AS u GROUP BY u.identity
