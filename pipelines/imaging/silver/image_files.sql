-- What is neither an image nor a document of pages is no image, whatever its name says.
SELECT
  f.uri,
  f.name,
  f.stem,
  CASE
    WHEN f.media_type LIKE 'image/%' OR f.media_type IN ('application/dicom', 'application/pdf') THEN f.status
    ELSE 'unreadable'
  END AS status,
  CASE
    WHEN f.media_type LIKE 'image/%' OR f.media_type IN ('application/dicom', 'application/pdf') THEN f.reason
    ELSE COALESCE(f.reason, f.media_type || ' is no image')
  END AS reason,
  f.size,
  f.modified_at,
  f.sha256,
  f.media_type,
  COALESCE(f.width, f.dicom['columns']) AS width,
  COALESCE(f.height, f.dicom['rows']) AS height,
  f.pages,
  f.dicom['study_uid'] AS study_uid,
  f.dicom['series_uid'] AS series_uid,
  f.dicom['sop_uid'] AS sop_uid,
  f.dicom['sop_class'] AS sop_class,
  f.dicom['modality'] AS modality,
  f.dicom['body_part'] AS dicom_body_part,
  f.dicom['laterality'] AS laterality,
  f.dicom['view'] AS view,
  f.dicom['frames'] AS frames,
  f.dicom['row_spacing_mm'] AS row_spacing_mm,
  f.dicom['column_spacing_mm'] AS column_spacing_mm,
  f.dicom['photometric_interpretation'] AS photometric_interpretation,
  f.dicom['manufacturer'] AS manufacturer,
  f.dicom['acquisition_date'] AS acquisition_date,
  f.dicom['transfer_syntax'] AS transfer_syntax,
  f.tags,
  f.person_key
FROM bronze.image_files AS f
