-- A text NULL in the database is a value that somebody imported, not a name. The check digit: see provider_records.sql.
WITH trimmed AS (
  SELECT
    p.provider_id AS clinic_provider_id,
    NULLIF(NULLIF(TRIM(REGEXP_REPLACE(p.provider_name, '\s+', ' ', 'g')), ''), 'NULL') AS provider_name,
    NULLIF(NULLIF(TRIM(p.npi), ''), 'NULL') AS npi,
    TRANSLATE(TRIM(p.npi), '0123456789', '0246813579') AS doubled,
    NULLIF(NULLIF(TRIM(p.specialty), ''), 'NULL') AS specialty,
    NULLIF(NULLIF(TRIM(p.specialty_source_value), ''), 'NULL') AS specialty_source,
    NULLIF(NULLIF(TRIM(p.care_site), ''), 'NULL') AS care_site_name,
    NULLIF(TRIM(p.provider_source_value), '') AS provider_source_value,
    NULLIF(TRIM(p.provider_id_source_value), '') AS provider_id_source_value
  FROM bronze.clinic_providers AS p
)
SELECT
  t.clinic_provider_id,
  CASE
    WHEN REGEXP_LIKE(t.npi, '^[0-9]{10}$') THEN CONCAT('npi:', t.npi)
    ELSE CONCAT('clinic:', CAST(t.clinic_provider_id AS STRING))
  END AS identity,
  t.provider_name,
  t.npi,
  CASE
    WHEN t.npi IS NULL THEN 'missing'
    WHEN NOT REGEXP_LIKE(t.npi, '^[0-9]{10}$') THEN 'not ten digits'
    WHEN SUBSTR(t.npi, 1, 1) NOT IN ('1', '2') THEN 'first digit'
    WHEN (24
      + TRY_CAST(SUBSTR(t.doubled, 1, 1) AS INT) + TRY_CAST(SUBSTR(t.npi, 2, 1) AS INT)
      + TRY_CAST(SUBSTR(t.doubled, 3, 1) AS INT) + TRY_CAST(SUBSTR(t.npi, 4, 1) AS INT)
      + TRY_CAST(SUBSTR(t.doubled, 5, 1) AS INT) + TRY_CAST(SUBSTR(t.npi, 6, 1) AS INT)
      + TRY_CAST(SUBSTR(t.doubled, 7, 1) AS INT) + TRY_CAST(SUBSTR(t.npi, 8, 1) AS INT)
      + TRY_CAST(SUBSTR(t.doubled, 9, 1) AS INT) + TRY_CAST(SUBSTR(t.npi, 10, 1) AS INT)
    ) % 10 <> 0 THEN 'check digit'
  END AS npi_problem,
  COALESCE(short.specialty, long.specialty, t.specialty, t.specialty_source) AS specialty,
  COALESCE(t.specialty_source, t.specialty) AS specialty_source_value,
  COALESCE(n.care_site_name, t.care_site_name) AS care_site_name,
  t.provider_source_value,
  t.provider_id_source_value
FROM trimmed AS t
LEFT JOIN reference.specialties AS short ON LOWER(t.specialty) = short.spelling
LEFT JOIN reference.specialties AS long ON LOWER(t.specialty_source) = long.spelling
LEFT JOIN reference.care_site_names AS n ON LOWER(t.care_site_name) = n.spelling
