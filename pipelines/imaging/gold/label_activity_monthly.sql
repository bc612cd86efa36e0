SELECT
  CAST(DATE_TRUNC('month', labelled_date) AS DATE) AS month,
  COALESCE(classification, 'unknown') AS classification,
  COALESCE(labelling_method, 'unknown') AS labelling_method,
  COUNT(*) FILTER (WHERE value) AS positive,
  COUNT(*) FILTER (WHERE NOT value) AS negative,
  COUNT(DISTINCT exam_id) AS exams
FROM silver.exam_labels
WHERE labelled_date IS NOT NULL
GROUP BY
  CAST(DATE_TRUNC('month', labelled_date) AS DATE),
  COALESCE(classification, 'unknown'),
  COALESCE(labelling_method, 'unknown')
