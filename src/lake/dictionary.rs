//! Which columns of a data file get a dictionary: told from its first rows.

use arrow::array::{Array, ArrayRef, RecordBatch};
use deltalake::datafusion::common::hash_utils::{RandomState, create_hashes};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::parquet::schema::types::ColumnPath;

use crate::error::Result;

/// How many rows tell. A file of fewer is small whatever is chosen.
const SAMPLE: usize = 4096;
/// Bits of the map in which values are counted: many more than values, so that few meet.
const BITS: usize = 1 << 16;

/// Takes the dictionary from columns of which most values of a file's first rows differ: each value would stand in it, and a
/// place in it, which takes as much again, in the rows.
pub(super) fn fit(properties: WriterProperties, first: &RecordBatch) -> Result<WriterProperties> {
    if first.num_rows() < SAMPLE {
        return Ok(properties);
    }
    let mut builder = properties.into_builder();
    for (field, column) in first.schema().fields().iter().zip(first.columns()) {
        if !field.data_type().is_nested() && !repeats(&column.slice(0, SAMPLE))? {
            builder = builder.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
        }
    }
    Ok(builder.build())
}

/// Whether a column has each of its values twice on average.
fn repeats(column: &ArrayRef) -> Result<bool> {
    let mut hashes = vec![0; column.len()];
    create_hashes([column], &RandomState::default(), &mut hashes)?;
    let mut met = vec![false; BITS];
    let values = hashes.into_iter().filter(|hash| !std::mem::replace(&mut met[*hash as usize % BITS], true)).count();
    Ok(2 * values <= column.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, new_null_array};
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn what_differs_from_row_to_row_does_not_repeat() {
        let count = SAMPLE as i64;
        let texts = |values: i64| -> ArrayRef {
            Arc::new((0..count).map(|row| Some(format!("text {}", row * 7919 % values))).collect::<StringArray>())
        };
        assert!(!repeats(&texts(count)).unwrap());
        assert!(!repeats(&texts(3000)).unwrap());
        assert!(repeats(&texts(1500)).unwrap());
        assert!(repeats(&(Arc::new(Int64Array::from_iter_values((0..count).map(|row| row / 4))) as ArrayRef)).unwrap());
        assert!(repeats(&new_null_array(&DataType::Utf8, SAMPLE)).unwrap());
    }

    #[test]
    fn only_columns_that_repeat_keep_their_dictionary() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..SAMPLE as i64));
        let kinds: ArrayRef = Arc::new((0..SAMPLE).map(|row| Some(["a", "b"][row % 2])).collect::<StringArray>());
        let rows = RecordBatch::try_from_iter([("id", ids), ("kind", kinds)]).unwrap();
        let has = |properties: &WriterProperties, name: &str| properties.dictionary_enabled(&ColumnPath::from(name));
        let fitted = fit(WriterProperties::builder().build(), &rows).unwrap();
        assert_eq!(["id", "kind"].map(|name| has(&fitted, name)), [false, true]);
        let few = fit(WriterProperties::builder().build(), &rows.slice(1, SAMPLE - 1)).unwrap();
        assert_eq!(["id", "kind"].map(|name| has(&few, name)), [true, true]);
    }
}
