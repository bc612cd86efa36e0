WITH consensus AS (
  SELECT
    exam_id,
    ARRAY_AGG(classification ORDER BY classification) FILTER (WHERE value) AS positives,
    ARRAY_AGG(classification ORDER BY classification) FILTER (WHERE NOT value) AS negatives
  FROM gold.exam_label_consensus
  GROUP BY exam_id
),
methods AS (
  SELECT
    exam_id,
    COUNT(*) FILTER (WHERE labelling_method = 'physician') AS physician_label_count,
    COUNT(*) FILTER (WHERE labelling_method = 'ml_model') AS model_label_count
  FROM silver.exam_labels
  GROUP BY exam_id
),
texts AS (
  SELECT exam_id, text, format, 1 AS is_event, report_date, report_id AS id
  FROM silver.reports
  WHERE text IS NOT NULL
  UNION ALL
  SELECT exam_id, text, format, 0 AS is_event, CAST(NULL AS DATE) AS report_date, original_uri AS id
  FROM silver.report_documents
  WHERE text IS NOT NULL
),
report AS (
  SELECT
    exam_id,
    FIRST_VALUE(text ORDER BY is_event DESC, report_date DESC NULLS LAST, id) AS report_text,
    FIRST_VALUE(format ORDER BY is_event DESC, report_date DESC NULLS LAST, id) AS report_format,
    COUNT(*) AS report_count
  FROM texts
  GROUP BY exam_id
)
SELECT
  e.exam_id,
  e.body_part,
  COALESCE(c.positives, ARROW_CAST(MAKE_ARRAY(), 'List(Utf8)')) AS positives,
  COALESCE(c.negatives, ARROW_CAST(MAKE_ARRAY(), 'List(Utf8)')) AS negatives,
  e.label_count,
  COALESCE(m.physician_label_count, 0) AS physician_label_count,
  COALESCE(m.model_label_count, 0) AS model_label_count,
  r.report_text,
  r.report_format,
  COALESCE(r.report_count, 0) AS report_count,
  e.image_uri,
  i.status AS image_status,
  i.uri AS image_file,
  i.media_type AS image_media_type,
  i.size AS image_size,
  i.sha256 AS image_sha256,
  i.modality,
  i.person_key
FROM silver.exams AS e
LEFT JOIN consensus AS c ON e.exam_id = c.exam_id
LEFT JOIN methods AS m ON e.exam_id = m.exam_id
LEFT JOIN report AS r ON e.exam_id = r.exam_id
LEFT JOIN silver.images AS i ON e.exam_id = i.exam_id
