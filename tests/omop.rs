//! `gold.care_site` and `gold.provider` against the fields of OMOP CDM 5.4, which `omop.csv` lists: the same columns, in the
//! same order, of the same types, and no text longer than its field where the sources can bring one.

use std::path::Path;

use arrow::datatypes::DataType;
use medalha::contract::{self, Severity, Table};

struct Field {
    table: String,
    name: String,
    required: bool,
    data_type: DataType,
    length: Option<u32>,
}

fn fields() -> Vec<Field> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/omop.csv");
    let mut reader = csv::Reader::from_path(path).unwrap();
    let field = |row: csv::StringRecord| {
        let length = row[3].strip_prefix("varchar(").map(|rest| rest.trim_end_matches(')').parse().unwrap());
        let data_type = match length {
            Some(_) => DataType::Utf8,
            None => [("integer", DataType::Int32)].into_iter().find(|(name, _)| *name == &row[3]).unwrap().1,
        };
        Field { table: row[0].to_owned(), name: row[1].to_owned(), required: &row[2] == "true", data_type, length }
    };
    reader.records().map(|row| field(row.unwrap())).collect()
}

fn table(name: &str) -> Table {
    let project = contract::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|problems| panic!("{problems}"));
    project.table(&format!("gold.{name}").parse().unwrap()).unwrap().clone()
}

#[test]
fn gold_has_the_fields_of_the_common_data_model() {
    for name in ["care_site", "provider"] {
        let table = table(name);
        let found: Vec<_> = table.columns.iter().map(|c| (c.name.clone(), c.data_type.clone(), c.required)).collect();
        let of_table = fields().into_iter().filter(|field| field.table == name);
        let expected: Vec<_> = of_table.map(|field| (field.name, field.data_type, field.required)).collect();
        assert_eq!(found, expected, "gold.{name}");
    }
}

#[test]
fn texts_that_do_not_fit_are_set_aside() {
    for name in ["care_site", "provider"] {
        let table = table(name);
        let fits = table.expectations.iter().find(|expectation| expectation.name == "fits_omop").unwrap();
        assert_eq!(fits.severity, Severity::Quarantine);
        for Field { name: column, length, .. } in fields().into_iter().filter(|field| field.table == name) {
            let sql = table.sql().unwrap();
            // A field that no source fills is NULL in the SQL.
            if let Some(length) = length.filter(|_| !sql.contains(&format!("CAST(NULL AS STRING) AS {column}"))) {
                let condition = format!("COALESCE(CHARACTER_LENGTH({column}), 0) <= {length}");
                assert!(fits.condition.contains(&condition), "gold.{name}.{column}: no {condition}");
            }
        }
    }
}
