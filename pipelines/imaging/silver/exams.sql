SELECT
  NULLIF(TRIM(e.content['id']), '') AS exam_id,
  e.content['source'] AS sources,
  e.content['dataset_type'] AS dataset_type,
  e.content['dataset'] AS dataset,
  COALESCE(p.body_part, NULLIF(UPPER(TRIM(e.content['body_part'])), '')) AS body_part,
  e.content['body_part'] AS body_part_raw,
  e.content['image_path'] AS image_uri,
  REGEXP_REPLACE(
    SPLIT_PART(SPLIT_PART(SPLIT_PART(e.content['image_path'], '?', 1), '#', 1), '/', -1),
    '(.)[.][A-Za-z][A-Za-z0-9]{0,4}$',
    '\1'
  ) AS image_key,
  e.content['labels'] AS labels,
  COALESCE(CAST(ARRAY_LENGTH(e.content['labels']) AS BIGINT), 0) AS label_count,
  e.publication_timestamp AS published_at
FROM bronze.exam_events AS e
LEFT JOIN reference.body_parts AS p ON LOWER(TRIM(e.content['body_part'])) = p.spelling
