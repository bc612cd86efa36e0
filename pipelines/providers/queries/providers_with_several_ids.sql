--- description = "NPIs that stand with more than one ProviderID in the provider files, with these ids"
SELECT p.provider_id, p.npi, f.file_provider_id, f.file_date
FROM silver.providers AS p
JOIN silver.file_providers AS f ON p.identity = f.identity
WHERE p.file_ids > 1
ORDER BY p.npi, f.file_provider_id
