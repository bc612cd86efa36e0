WITH expected AS (
  SELECT DISTINCT classification FROM reference.label_classes WHERE expected = 'true'
),
total AS (
  SELECT COUNT(*) AS classes FROM expected
),
labelled AS (
  SELECT l.exam_id, COUNT(DISTINCT x.classification) AS classes
  FROM silver.exam_labels AS l
  LEFT JOIN expected AS x ON l.classification = x.classification
  GROUP BY l.exam_id
)
SELECT
  e.exam_id,
  COALESCE(l.classes, 0) AS distinct_classifications,
  100.0 * COALESCE(l.classes, 0) / t.classes AS completeness
FROM total AS t
CROSS JOIN silver.exams AS e
LEFT JOIN labelled AS l ON e.exam_id = l.exam_id
