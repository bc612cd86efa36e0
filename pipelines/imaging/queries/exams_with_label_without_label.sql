--- description = "The number of exams with one label and without another, in a month"
--- [params.with]
--- type = "STRING"
--- reference = "label_classes"
--- column = "classification"
--- default = "covid19"
--- comment = "the class that the exam has; its label is dated in the month"
--- [params.without]
--- type = "STRING"
--- reference = "label_classes"
--- column = "classification"
--- default = "pneumonia"
--- comment = "the class that the exam does not have, whatever the date"
--- [params.month]
--- type = "DATE"
--- default = "2021-12-01"
--- comment = "the month, such as 2021-12; of a full date the month counts"
--- [params.by]
--- type = "STRING"
--- reference = "label_evidence"
--- column = "evidence"
--- default = "labels"
--- comment = "what says that an exam has a class: any true label of it (labels), or the sign of all of them together (consensus)"
WITH rejected AS (
  SELECT exam_id FROM silver.exam_labels WHERE value AND classification = $without AND $by = 'labels'
  UNION ALL
  SELECT exam_id FROM gold.exam_label_consensus WHERE value AND classification = $without AND $by = 'consensus'
)
SELECT COUNT(DISTINCT l.exam_id) AS exams
FROM silver.exam_labels AS l
LEFT ANTI JOIN rejected AS r ON l.exam_id = r.exam_id
WHERE l.classification = $with
  AND l.labelled_date >= MAKE_DATE(DATE_PART('year', $month), DATE_PART('month', $month), 1)
  AND l.labelled_date < MAKE_DATE(DATE_PART('year', $month), DATE_PART('month', $month), 1) + INTERVAL '1 month'
  -- By labels the one in the month must itself be true; by consensus it need only be there.
  AND (
    $by = 'labels' AND l.value
    OR $by = 'consensus'
    AND l.exam_id IN (SELECT exam_id FROM gold.exam_label_consensus WHERE value AND classification = $with)
  )
