-- Texts are the most of it, and of an exam there is mostly one: so they are not grouped or sorted, only those that give way
-- to another are looked for and left out. They are joined last, for each join may hold what was joined before it.
WITH consensus AS (
  SELECT
    exam_id,
    ARRAY_SORT(ARRAY_AGG(classification) FILTER (WHERE value)) AS positives,
    ARRAY_SORT(ARRAY_AGG(classification) FILTER (WHERE NOT value)) AS negatives
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
-- Whether an exam has several is asked of all, texts or not: so the texts need not be read for it. A report without text gives
-- way to any with one, a document to an event.
texts AS (
  SELECT
    exam_id,
    report_id AS id,
    CASE WHEN text IS NULL THEN DATE '0000-01-01' ELSE COALESCE(report_date, DATE '0001-01-01') END AS day,
    text
  FROM silver.reports
  UNION ALL
  SELECT
    exam_id,
    original_uri AS id,
    CASE WHEN text IS NULL THEN DATE '0000-01-01' ELSE DATE '0000-01-02' END AS day,
    text
  FROM silver.report_documents
),
several AS (
  SELECT exam_id
  FROM texts
  GROUP BY exam_id
  HAVING COUNT(*) > 1
),
superseded AS (
  SELECT DISTINCT a.exam_id, a.id
  FROM several AS s
  INNER JOIN texts AS a ON s.exam_id = a.exam_id
  INNER JOIN texts AS b ON s.exam_id = b.exam_id
  WHERE b.day > a.day OR b.day = a.day AND b.id < a.id
),
report AS (
  SELECT t.exam_id, t.text
  FROM superseded AS s
  RIGHT ANTI JOIN texts AS t ON s.exam_id = t.exam_id AND s.id = t.id
)
SELECT
  e.exam_id,
  e.body_part,
  COALESCE(c.positives, MAKE_ARRAY()) AS positives,
  COALESCE(c.negatives, MAKE_ARRAY()) AS negatives,
  e.label_count,
  COALESCE(m.physician_label_count, 0) AS physician_label_count,
  COALESCE(m.model_label_count, 0) AS model_label_count,
  r.text AS report_text,
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
LEFT JOIN silver.images AS i ON e.exam_id = i.exam_id
LEFT JOIN report AS r ON e.exam_id = r.exam_id
