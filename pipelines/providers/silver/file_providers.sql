WITH picked AS (
  SELECT
    r.file_provider_id,
    FIRST_VALUE(
      NAMED_STRUCT('npi', r.npi, 'problem', r.npi_problem)
      ORDER BY
        CASE r.npi_problem WHEN 'missing' THEN 3 WHEN 'not ten digits' THEN 2 ELSE 1 END,
        r.npi_problem IS NOT NULL, r.file_date DESC, r.npi DESC
    ) AS best,
    FIRST_VALUE(
      NAMED_STRUCT('name', r.provider_name, 'has_initial', r.name_has_initial)
      ORDER BY r.name_has_initial, CHARACTER_LENGTH(r.provider_name) DESC, r.file_date DESC, r.provider_name DESC
    ) AS fullest,
    FIRST_VALUE(
      NAMED_STRUCT(
        'specialty', r.specialty,
        'specialty_source_value', r.specialty_source_value,
        'care_site_name', r.care_site_name,
        'provider_source_value', r.provider_source_value,
        'provider_id_source_value', r.provider_id_source_value
      )
      ORDER BY r.file_date DESC, r.variant
    ) AS newest,
    MIN(LOWER(r.provider_name)) <> MAX(LOWER(r.provider_name)) AS names_differ,
    MAX(r.file_date) AS file_date
  FROM silver.provider_records AS r
  GROUP BY r.file_provider_id
)
SELECT
  p.file_provider_id,
  CASE
    WHEN REGEXP_LIKE(p.best['npi'], '^[0-9]{10}$') THEN CONCAT('npi:', p.best['npi'])
    ELSE CONCAT('file:', p.file_provider_id)
  END AS identity,
  CASE
    WHEN REGEXP_LIKE(p.best['npi'], '^[0-9]{10}$') THEN CONCAT('file:', p.file_provider_id)
  END AS previous_identity,
  p.best['npi'] AS npi,
  p.best['problem'] AS npi_problem,
  p.fullest['name'] AS provider_name,
  p.fullest['has_initial'] AS name_has_initial,
  p.names_differ,
  p.newest['specialty'] AS specialty,
  p.newest['specialty_source_value'] AS specialty_source_value,
  p.newest['care_site_name'] AS care_site_name,
  p.newest['provider_source_value'] AS provider_source_value,
  p.newest['provider_id_source_value'] AS provider_id_source_value,
  p.file_date
FROM picked AS p
