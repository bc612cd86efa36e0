--- description = "The work of each labeller and method by month; labels without a date are in no month"
--- [params.from]
--- type = "DATE"
--- default = "0001-01-01"
--- comment = "the first month, such as 2021-01"
--- [params.to]
--- type = "DATE"
--- default = "9999-12-01"
--- comment = "the last month, such as 2021-12"
-- DATE_TRUNC would go over TIMESTAMP, which holds no date after 2262.
WITH dated AS (
  SELECT
    MAKE_DATE(DATE_PART('year', labelled_date), DATE_PART('month', labelled_date), 1) AS month,
    COALESCE(labelled_by, 'unknown') AS labelled_by,
    COALESCE(labelling_method, 'unknown') AS labelling_method,
    value,
    exam_id
  FROM silver.exam_labels
  WHERE labelled_date >= MAKE_DATE(DATE_PART('year', $from), DATE_PART('month', $from), 1)
    AND labelled_date < MAKE_DATE(DATE_PART('year', $to), DATE_PART('month', $to), 1) + INTERVAL '1 month'
)
SELECT
  month,
  labelled_by,
  labelling_method,
  COUNT(*) AS labels,
  COUNT(*) FILTER (WHERE value) AS positive,
  COUNT(*) FILTER (WHERE NOT value) AS negative,
  COUNT(DISTINCT exam_id) AS exams
FROM dated
GROUP BY month, labelled_by, labelling_method
ORDER BY month, labelled_by, labelling_method
