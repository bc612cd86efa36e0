-- The database is the system of record: what it knows counts, and the files fill in what it lacks.
WITH candidates AS (
  SELECT
    c.identity, TRUE AS in_clinic, CAST(c.clinic_provider_id AS STRING) AS id, c.npi, c.npi_problem, c.provider_name,
    FALSE AS name_has_initial, FALSE AS names_differ, c.specialty, c.specialty_source_value, c.care_site_name,
    c.provider_source_value, c.provider_id_source_value, CAST(NULL AS DATE) AS file_date
  FROM silver.clinic_providers AS c
  UNION ALL
  SELECT
    f.identity, FALSE, f.file_provider_id, f.npi, f.npi_problem, f.provider_name,
    f.name_has_initial, f.names_differ, f.specialty, f.specialty_source_value, f.care_site_name,
    f.provider_source_value, f.provider_id_source_value, f.file_date
  FROM silver.file_providers AS f
),
described AS (
  SELECT
    c.*,
    NAMED_STRUCT(
      'provider_name', c.provider_name,
      'npi', c.npi,
      'npi_problem', c.npi_problem,
      'specialty', c.specialty,
      'specialty_source_value', c.specialty_source_value,
      'care_site_name', c.care_site_name,
      'provider_source_value', c.provider_source_value,
      'provider_id_source_value', c.provider_id_source_value
    ) AS said
  FROM candidates AS c
),
person AS (
  SELECT
    d.identity,
    FIRST_VALUE(d.said ORDER BY d.id) FILTER (WHERE d.in_clinic) AS clinic,
    FIRST_VALUE(d.said ORDER BY d.file_date DESC, d.id) FILTER (WHERE NOT d.in_clinic) AS file,
    FIRST_VALUE(
      d.provider_name
      ORDER BY d.name_has_initial, CHARACTER_LENGTH(d.provider_name) DESC, d.file_date DESC, d.provider_name DESC
    ) FILTER (WHERE NOT d.in_clinic) AS fullest_name,
    BOOL_OR(d.names_differ) OR MIN(LOWER(d.provider_name)) <> MAX(LOWER(d.provider_name)) AS names_differ,
    BOOL_OR(d.in_clinic) AS in_clinic,
    COUNT(*) FILTER (WHERE NOT d.in_clinic) AS file_ids,
    MAX(d.file_date) AS file_date
  FROM described AS d
  GROUP BY d.identity
)
SELECT
  p.identity,
  i.provider_id,
  COALESCE(p.clinic['provider_name'], p.fullest_name) AS provider_name,
  p.names_differ,
  COALESCE(p.clinic['npi'], p.file['npi']) AS npi,
  COALESCE(p.clinic['npi_problem'], p.file['npi_problem']) AS npi_problem,
  COALESCE(p.clinic['specialty'], p.file['specialty']) AS specialty,
  CASE
    WHEN p.clinic['specialty'] IS NOT NULL THEN p.clinic['specialty_source_value']
    ELSE p.file['specialty_source_value']
  END AS specialty_source_value,
  COALESCE(p.clinic['care_site_name'], p.file['care_site_name']) AS care_site_name,
  LOWER(COALESCE(p.clinic['care_site_name'], p.file['care_site_name'])) AS site_key,
  COALESCE(p.clinic['provider_source_value'], p.file['provider_source_value']) AS provider_source_value,
  COALESCE(p.clinic['provider_id_source_value'], p.file['provider_id_source_value']) AS provider_id_source_value,
  p.in_clinic,
  p.file_ids,
  p.file_date
FROM person AS p
JOIN silver.provider_ids AS i ON p.identity = i.identity
