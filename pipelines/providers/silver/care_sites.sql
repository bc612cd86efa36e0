SELECT
  s.care_site_id,
  NULLIF(TRIM(s.care_site_name), '') AS care_site_name,
  LOWER(TRIM(s.care_site_name)) AS site_key,
  NULLIF(TRIM(s.care_site_source_value), '') AS care_site_source_value
FROM bronze.clinic_care_sites AS s
