-- The parts of the id are separated by a character that ends no field, and a missing part differs from an empty one.
SELECT
  ENCODE(SHA256(CONCAT(
    COALESCE('=' || r.content['exam_id'], '-'), CHR(31),
    COALESCE('=' || CAST(r.content['report_date'] AS STRING), '-'), CHR(31),
    COALESCE('=' || r.content['reported_by'], '-'), CHR(31),
    COALESCE('=' || r.content['text'], '-')
  )), 'hex') AS report_id,
  NULLIF(TRIM(r.content['exam_id']), '') AS exam_id,
  r.content['report_date'] AS report_date,
  r.content['reported_by'] AS reported_by,
  r.content['text'] AS text,
  'text' AS format
FROM bronze.report_events AS r
