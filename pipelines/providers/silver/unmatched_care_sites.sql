WITH unmatched AS (
  SELECT p.site_key, MIN(p.care_site_name) AS care_site_name, COUNT(*) AS providers
  FROM silver.providers AS p
  LEFT ANTI JOIN silver.care_sites AS s ON p.site_key = s.site_key
  WHERE p.site_key IS NOT NULL
  GROUP BY p.site_key
),
near AS (
  SELECT u.site_key, s.care_site_name, LEVENSHTEIN(u.site_key, s.site_key) AS letters_apart
  FROM unmatched AS u
  CROSS JOIN silver.care_sites AS s
)
SELECT
  u.site_key,
  MIN(u.care_site_name) AS care_site_name,
  MIN(u.providers) AS providers,
  FIRST_VALUE(n.care_site_name ORDER BY n.letters_apart, n.care_site_name) AS nearest_name,
  CAST(MIN(n.letters_apart) AS BIGINT) AS letters_apart
FROM unmatched AS u
LEFT JOIN near AS n ON u.site_key = n.site_key
GROUP BY u.site_key
