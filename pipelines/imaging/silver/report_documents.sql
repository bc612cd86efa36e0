SELECT
  d.uri AS original_uri,
  REGEXP_MATCH(d.stem, '[0-9]+')[1] AS exam_id,
  d.format,
  d.encoding,
  d.text,
  d.status,
  d.reason,
  d.sha256
FROM bronze.report_files AS d
