--- description = "How many providers have an NPI with a problem, by problem and by who has the provider"
SELECT
  COALESCE(npi_problem, 'none') AS npi_problem,
  COUNT(*) FILTER (WHERE in_clinic) AS in_database,
  COUNT(*) FILTER (WHERE NOT in_clinic) AS in_files_only
FROM silver.providers
GROUP BY COALESCE(npi_problem, 'none')
ORDER BY npi_problem
