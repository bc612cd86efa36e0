-- The check digit makes the sum of the digits of 80840 and the NPI, every other one doubled, a multiple of ten: 24 is what
-- 80840 brings, and TRANSLATE gives the digit sum of a doubled digit.
WITH trimmed AS (
  SELECT
    NULLIF(TRIM(r."ProviderID"), '') AS file_provider_id,
    NULLIF(REGEXP_REPLACE(
      REGEXP_REPLACE(TRIM(r."ProviderName"), '^((dra?|prof|mrs?|ms)([.]\s*|\s+|$))+', '', 'i'), '\s+', ' ', 'g'
    ), '') AS provider_name,
    NULLIF(TRIM(r."NPI"), '') AS npi,
    TRANSLATE(TRIM(r."NPI"), '0123456789', '0246813579') AS doubled,
    NULLIF(TRIM(r."Specialty"), '') AS specialty,
    NULLIF(TRIM(r."SpecSource"), '') AS specialty_source,
    NULLIF(TRIM(r."SiteName"), '') AS care_site_name,
    NULLIF(TRIM(r."SourceID"), '') AS provider_source_value,
    NULLIF(TRIM(r."IDSource"), '') AS provider_id_source_value,
    TRY_CAST(REGEXP_MATCH(r._source, '([0-9]{4}-[0-9]{2}-[0-9]{2})[^/]*$')[1] AS DATE) AS file_date
  FROM bronze.provider_file_rows AS r
)
SELECT
  t.file_provider_id,
  MD5(CONCAT_WS('|', LOWER(t.provider_name), t.npi)) AS variant,
  t.provider_name,
  REGEXP_LIKE(t.provider_name, '(^|\s)\w[.]?(\s|$)') AS name_has_initial,
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
  t.provider_id_source_value,
  t.file_date
FROM trimmed AS t
LEFT JOIN reference.specialties AS short ON LOWER(t.specialty) = short.spelling
LEFT JOIN reference.specialties AS long ON LOWER(t.specialty_source) = long.spelling
LEFT JOIN reference.care_site_names AS n ON LOWER(t.care_site_name) = n.spelling
