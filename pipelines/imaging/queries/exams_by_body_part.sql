--- description = "A sample of exams with an image, of a body part and with more than so many labels; with their reports and labels"
--- [params.body_part]
--- type = "STRING"
--- default = "chest"
--- comment = "the body part, as reference.body_parts spells it, or the source's own code"
--- [params.more_than]
--- type = "BIGINT"
--- default = "5"
--- comment = "the exam has more labels than this"
--- [params.limit]
--- type = "BIGINT"
--- default = "10"
--- comment = "at most so many exams, by their ids"
-- The body part is normalised as silver.exams does it: a code that no reference lists is in capitals.
WITH asked AS (
  SELECT LOWER(TRIM(CAST($body_part AS STRING))) AS spelling
),
wanted AS (
  SELECT COALESCE(p.body_part, UPPER(a.spelling)) AS body_part
  FROM asked AS a
  LEFT JOIN reference.body_parts AS p ON p.spelling = a.spelling
),
sample AS (
  SELECT e.exam_id
  FROM silver.exams AS e
  JOIN wanted AS w ON e.body_part = w.body_part
  WHERE e.label_count > $more_than AND e.image_uri IS NOT NULL
  ORDER BY e.exam_id
  LIMIT $limit
),
-- Texts and labels are read for the sample only: most of what is stored is theirs.
reported AS (
  SELECT s.exam_id, ARRAY_AGG(r.text ORDER BY r.report_date, r.report_id) FILTER (WHERE r.text IS NOT NULL) AS reports
  FROM sample AS s
  LEFT JOIN silver.reports AS r ON s.exam_id = r.exam_id
  GROUP BY s.exam_id
)
SELECT e.exam_id, e.body_part, e.label_count, e.image_uri, r.reports, e.labels
FROM reported AS r
JOIN silver.exams AS e ON r.exam_id = e.exam_id
ORDER BY e.exam_id
