--- description = "Exams whose label completeness is under a percentage, the least complete first"
--- [params.under]
--- type = "DOUBLE"
--- default = "100.0"
--- comment = "percent of the expected classes that an exam has labels for"
SELECT c.exam_id, e.body_part, c.distinct_classifications, c.completeness
FROM gold.label_completeness AS c
JOIN silver.exams AS e ON c.exam_id = e.exam_id
WHERE c.completeness < $under
ORDER BY c.completeness, c.exam_id
