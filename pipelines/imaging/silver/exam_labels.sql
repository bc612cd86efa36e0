WITH delivered AS (
  SELECT exam_id, UNNEST(labels) AS label, UNNEST(RANGE(0, label_count)) AS label_index
  FROM silver.exams
  WHERE label_count > 0
)
SELECT
  d.exam_id,
  d.label_index,
  COALESCE(c.classification, NULLIF(LOWER(TRIM(d.label['classification'])), '')) AS classification,
  d.label['classification'] AS classification_raw,
  d.label['labelled_by'] AS labelled_by,
  d.label['labelled_date'] AS labelled_date,
  d.label['labelling_method'] AS labelling_method,
  d.label['classification_type'] AS classification_type,
  d.label['value'] AS value
FROM delivered AS d
LEFT JOIN reference.label_classes AS c ON LOWER(TRIM(d.label['classification'])) = c.spelling
