WITH weighed AS (
  SELECT
    exam_id,
    classification,
    CASE labelling_method WHEN 'physician' THEN 10 WHEN 'ml_model' THEN 5 ELSE 0 END
      * CASE WHEN value THEN 1 ELSE -1 END AS weight
  FROM silver.exam_labels
  WHERE classification IS NOT NULL AND value IS NOT NULL
),
summed AS (
  SELECT exam_id, classification, SUM(weight) AS total
  FROM weighed
  GROUP BY exam_id, classification
)
SELECT exam_id, classification, total > 0 AS value, ABS(total) AS score
FROM summed
WHERE total <> 0
