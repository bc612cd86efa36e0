--- description = "Providers by care site and specialty; sites that the database does not know have no id"
--- [params.at_least]
--- type = "BIGINT"
--- default = "1"
--- comment = "only where there are as many providers"
SELECT g.care_site_id, p.care_site_name, p.specialty, COUNT(*) AS providers
FROM gold.provider AS g
JOIN silver.providers AS p ON g.provider_id = p.provider_id
GROUP BY g.care_site_id, p.care_site_name, p.specialty
HAVING COUNT(*) >= $at_least
ORDER BY providers DESC, p.care_site_name, p.specialty
