SELECT
  s.care_site_id,
  s.care_site_name,
  CAST(0 AS INT) AS place_of_service_concept_id,
  CAST(NULL AS INT) AS location_id,
  s.care_site_source_value,
  CAST(NULL AS STRING) AS place_of_service_source_value
FROM silver.care_sites AS s
