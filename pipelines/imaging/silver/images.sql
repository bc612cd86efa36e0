WITH wanted AS (
  SELECT exam_id, image_uri, image_key, SPLIT_PART(SPLIT_PART(SPLIT_PART(image_uri, '?', 1), '#', 1), '/', -1) AS name
  FROM silver.exams
  WHERE image_uri IS NOT NULL
),
matched AS (
  SELECT
    w.exam_id,
    w.image_key,
    k.uri,
    k.matched_by,
    k.file,
    COUNT(*) OVER (PARTITION BY w.image_key, w.exam_id) AS files,
    ROW_NUMBER() OVER (
      PARTITION BY w.image_key, w.exam_id
      ORDER BY k.file['name'] = w.name DESC, k.matched_by = 'file_name' DESC, k.uri
    ) AS place
  FROM wanted AS w
  INNER JOIN silver.image_keys AS k ON w.image_key = k.image_key
)
SELECT
  w.exam_id,
  w.image_uri,
  w.image_key,
  COALESCE(m.file['status'], 'missing') AS status,
  m.file['reason'] AS reason,
  m.uri,
  m.matched_by,
  COALESCE(m.files, 0) AS files,
  m.file['size'] AS size,
  m.file['modified_at'] AS modified_at,
  m.file['sha256'] AS sha256,
  m.file['media_type'] AS media_type,
  m.file['width'] AS width,
  m.file['height'] AS height,
  m.file['pages'] AS pages,
  m.file['study_uid'] AS study_uid,
  m.file['series_uid'] AS series_uid,
  m.file['sop_uid'] AS sop_uid,
  m.file['sop_class'] AS sop_class,
  m.file['modality'] AS modality,
  m.file['dicom_body_part'] AS dicom_body_part,
  m.file['laterality'] AS laterality,
  m.file['view'] AS view,
  m.file['frames'] AS frames,
  m.file['row_spacing_mm'] AS row_spacing_mm,
  m.file['column_spacing_mm'] AS column_spacing_mm,
  m.file['photometric_interpretation'] AS photometric_interpretation,
  m.file['manufacturer'] AS manufacturer,
  m.file['acquisition_date'] AS acquisition_date,
  m.file['transfer_syntax'] AS transfer_syntax,
  m.file['tags'] AS tags,
  m.file['person_key'] AS person_key
FROM wanted AS w
LEFT JOIN matched AS m ON w.image_key = m.image_key AND w.exam_id = m.exam_id AND m.place = 1
