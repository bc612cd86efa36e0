--- description = "The consensus of an exam: what its labels say of each class, taken together"
--- [params.exam_id]
--- type = "STRING"
--- comment = "the exam's id"
SELECT classification, value, score
FROM gold.exam_label_consensus
WHERE exam_id = $exam_id
ORDER BY classification
