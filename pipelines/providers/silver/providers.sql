-- The database is the system of record: what it knows counts, and the files fill in what it lacks. So its rank is after that
-- of any day and of any name of a file. How ranks are used: see file_providers.sql.
WITH candidates AS (
  SELECT
    c.identity, '9999-99-99' AS day, '20000' || '9999-99-99' AS name_rank, c.npi, c.npi_problem, c.provider_name,
    FALSE AS names_differ, c.specialty, c.specialty_source_value, c.care_site_name, c.provider_source_value,
    c.provider_id_source_value, TRUE AS in_clinic, CAST(NULL AS DATE) AS file_date
  FROM silver.clinic_providers AS c
  UNION ALL
  SELECT
    f.identity, CAST(f.file_date AS STRING), f.name_rank, f.npi, f.npi_problem, f.provider_name,
    f.names_differ, f.specialty, f.specialty_source_value, f.care_site_name, f.provider_source_value,
    f.provider_id_source_value, FALSE, f.file_date
  FROM silver.file_providers AS f
),
person AS (
  SELECT
    identity,
    SUBSTR(MAX(name_rank || provider_name), 16) AS provider_name,
    BOOL_OR(names_differ) OR MIN(LOWER(provider_name)) <> MAX(LOWER(provider_name)) AS names_differ,
    MAX(npi) AS npi,
    MAX(npi_problem) AS npi_problem,
    SUBSTR(MAX(day || specialty), 11) AS specialty,
    SUBSTR(MAX(day || specialty_source_value), 11) AS specialty_source_value,
    SUBSTR(MAX(day || care_site_name), 11) AS care_site_name,
    SUBSTR(MAX(day || provider_source_value), 11) AS provider_source_value,
    SUBSTR(MAX(day || provider_id_source_value), 11) AS provider_id_source_value,
    BOOL_OR(in_clinic) AS in_clinic,
    COUNT(file_date) AS file_ids,
    MAX(file_date) AS file_date
  FROM candidates
  GROUP BY identity
)
SELECT
  p.identity,
  i.provider_id,
  p.provider_name,
  p.names_differ,
  p.npi,
  p.npi_problem,
  p.specialty,
  p.specialty_source_value,
  p.care_site_name,
  LOWER(p.care_site_name) AS site_key,
  p.provider_source_value,
  p.provider_id_source_value,
  p.in_clinic,
  p.file_ids,
  p.file_date
FROM person AS p
JOIN silver.provider_ids AS i ON p.identity = i.identity
