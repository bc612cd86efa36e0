WITH files AS (
  SELECT
    uri,
    stem,
    sop_uid,
    NAMED_STRUCT(
      'name', name,
      'status', status,
      'reason', reason,
      'size', size,
      'modified_at', modified_at,
      'sha256', sha256,
      'media_type', media_type,
      'width', width,
      'height', height,
      'pages', pages,
      'study_uid', study_uid,
      'series_uid', series_uid,
      'sop_uid', sop_uid,
      'sop_class', sop_class,
      'modality', modality,
      'dicom_body_part', dicom_body_part,
      'laterality', laterality,
      'view', view,
      'frames', frames,
      'row_spacing_mm', row_spacing_mm,
      'column_spacing_mm', column_spacing_mm,
      'photometric_interpretation', photometric_interpretation,
      'manufacturer', manufacturer,
      'acquisition_date', acquisition_date,
      'transfer_syntax', transfer_syntax,
      'tags', tags,
      'person_key', person_key
    ) AS file
  FROM silver.image_files
),
keyed AS (
  SELECT
    uri,
    file,
    UNNEST(CASE
      WHEN sop_uid IS NULL OR sop_uid = stem THEN MAKE_ARRAY(stem)
      ELSE MAKE_ARRAY(stem, sop_uid)
    END) AS image_key,
    stem
  FROM files
)
SELECT
  image_key,
  uri,
  CASE WHEN image_key = stem THEN 'file_name' ELSE 'dicom_uid' END AS matched_by,
  file
FROM keyed
