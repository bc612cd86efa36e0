-- Of two sites whose names differ in capitals only, the one with the lower id counts.
WITH site AS (
  SELECT site_key, MIN(care_site_id) AS care_site_id
  FROM silver.care_sites
  GROUP BY site_key
)
SELECT
  p.provider_id,
  p.provider_name,
  p.npi,
  CAST(NULL AS STRING) AS dea,
  CAST(COALESCE(c.concept_id, '0') AS INT) AS specialty_concept_id,
  s.care_site_id,
  CAST(NULL AS INT) AS year_of_birth,
  CAST(0 AS INT) AS gender_concept_id,
  p.provider_source_value,
  p.specialty_source_value,
  CAST(0 AS INT) AS specialty_source_concept_id,
  CAST(NULL AS STRING) AS gender_source_value,
  CAST(0 AS INT) AS gender_source_concept_id
FROM silver.providers AS p
LEFT JOIN reference.specialties AS c ON LOWER(p.specialty) = c.spelling
LEFT JOIN site AS s ON p.site_key = s.site_key
