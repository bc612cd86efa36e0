--- description = "The names that the provider files have for one person, and when each was last given"
--- [params.npi]
--- type = "STRING"
--- comment = "the person's NPI, of ten digits"
SELECT f.file_provider_id, r.provider_name, r.npi, r.file_date
FROM silver.file_providers AS f
JOIN silver.provider_records AS r ON f.file_provider_id = r.file_provider_id
WHERE f.identity = CONCAT('npi:', TRIM($npi))
ORDER BY r.file_date DESC, f.file_provider_id, r.provider_name, r.npi
