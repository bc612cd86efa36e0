-- Not DATE_TRUNC: it goes through nanoseconds, in which no date after 2262 can be told.
SELECT
  MAKE_DATE(DATE_PART('year', labelled_date), DATE_PART('month', labelled_date), 1) AS month,
  COALESCE(classification, 'unknown') AS classification,
  COALESCE(labelling_method, 'unknown') AS labelling_method,
  COUNT(*) FILTER (WHERE value) AS positive,
  COUNT(*) FILTER (WHERE NOT value) AS negative,
  COUNT(DISTINCT exam_id) AS exams
FROM silver.exam_labels
WHERE labelled_date IS NOT NULL
GROUP BY
  MAKE_DATE(DATE_PART('year', labelled_date), DATE_PART('month', labelled_date), 1),
  COALESCE(classification, 'unknown'),
  COALESCE(labelling_method, 'unknown')
