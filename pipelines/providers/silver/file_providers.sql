-- What is picked among the rows of an id is the greatest of texts that begin with a rank of fixed length, which is then cut
-- off: many ids fit into memory so, as they would not with first_value. NULL makes the whole text NULL, and is never picked.
WITH ranked AS (
  SELECT
    r.*,
    CAST(r.file_date AS STRING) AS day,
    CASE
      WHEN r.npi_problem IS NULL THEN '4'
      WHEN r.npi_problem = 'check digit' THEN '3'
      WHEN r.npi_problem = 'first digit' THEN '2'
      WHEN r.npi_problem = 'not ten digits' THEN '1'
      ELSE '0'
    END || CAST(r.file_date AS STRING) AS npi_rank,
    CASE WHEN r.name_has_initial THEN '0' ELSE '1' END
      || LPAD(CAST(CHARACTER_LENGTH(r.provider_name) AS STRING), 4, '0')
      || CAST(r.file_date AS STRING) AS name_rank
  FROM silver.provider_records AS r
),
picked AS (
  SELECT
    file_provider_id,
    SUBSTR(MAX(npi_rank || npi), 12) AS npi,
    SUBSTR(MAX(npi_rank || COALESCE(npi_problem, '')), 12) AS npi_problem,
    MAX(name_rank || provider_name) AS ranked_name,
    MIN(LOWER(provider_name)) <> MAX(LOWER(provider_name)) AS names_differ,
    SUBSTR(MAX(day || specialty), 11) AS specialty,
    SUBSTR(MAX(day || specialty_source_value), 11) AS specialty_source_value,
    SUBSTR(MAX(day || care_site_name), 11) AS care_site_name,
    SUBSTR(MAX(day || provider_source_value), 11) AS provider_source_value,
    SUBSTR(MAX(day || provider_id_source_value), 11) AS provider_id_source_value,
    MAX(file_date) AS file_date
  FROM ranked
  GROUP BY file_provider_id
)
SELECT
  p.file_provider_id,
  CASE
    WHEN p.npi_problem = 'not ten digits' OR p.npi IS NULL THEN 'file:' || p.file_provider_id
    ELSE 'npi:' || p.npi
  END AS identity,
  CASE
    WHEN p.npi_problem = 'not ten digits' OR p.npi IS NULL THEN NULL
    ELSE 'file:' || p.file_provider_id
  END AS previous_identity,
  p.npi,
  NULLIF(p.npi_problem, '') AS npi_problem,
  SUBSTR(p.ranked_name, 16) AS provider_name,
  SUBSTR(p.ranked_name, 1, 15) AS name_rank,
  p.names_differ,
  p.specialty,
  p.specialty_source_value,
  p.care_site_name,
  p.provider_source_value,
  p.provider_id_source_value,
  p.file_date
FROM picked AS p
