//! The lake's type for each type of a database.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

/// The length that `atttypmod` counts before its own content.
const MODIFIER_HEADER: i32 = 4;
/// Domains of domains are followed this far.
const MAX_DEPTH: usize = 32;

/// A row of `pg_type`.
#[derive(Debug, Clone)]
pub(super) struct PgType {
    /// Such as `int4`; of system types only, so that nobody's own `int4` is taken for one.
    pub name: Option<String>,
    /// `b` base, `c` composite, `d` domain, `e` enum, …
    pub kind: char,
    /// The type below a domain.
    pub base: u32,
    /// The modifier of the type below a domain; -1 for none.
    pub modifier: i32,
    /// The type of an array's elements; 0 for what is no array.
    pub element: u32,
}

/// The lake's type for a type and its modifier. Whatever has no type of its own is STRING: text, enums, uuid, json,
/// times, intervals, composites, ranges, addresses, and numbers that DECIMAL cannot hold.
pub(super) fn lake_type(types: &HashMap<u32, PgType>, oid: u32, modifier: i32) -> DataType {
    of(types, oid, modifier, 0)
}

fn of(types: &HashMap<u32, PgType>, oid: u32, modifier: i32, depth: usize) -> DataType {
    let Some(found) = types.get(&oid).filter(|_| depth < MAX_DEPTH) else { return DataType::Utf8 };
    if found.kind == 'd' {
        return of(types, found.base, found.modifier, depth + 1);
    }
    if found.element != 0 {
        // An array's modifier is that of its elements.
        let element = of(types, found.element, modifier, depth + 1);
        return DataType::List(Arc::new(Field::new("element", element, true)));
    }
    match found.name.as_deref() {
        Some("bool") => DataType::Boolean,
        Some("int2") => DataType::Int16,
        Some("int4") => DataType::Int32,
        Some("int8" | "oid") => DataType::Int64,
        Some("float4") => DataType::Float32,
        Some("float8") => DataType::Float64,
        Some("numeric") => decimal(modifier),
        Some("date") => DataType::Date32,
        Some("timestamp" | "timestamptz") => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Some("bytea") => DataType::Binary,
        _ => DataType::Utf8,
    }
}

/// The type of `numeric(p, s)`; that of `numeric` alone, of more than 38 digits and of a scale outside of them is STRING.
fn decimal(modifier: i32) -> DataType {
    if modifier < MODIFIER_HEADER {
        return DataType::Utf8;
    }
    let modifier = modifier - MODIFIER_HEADER;
    let precision = modifier >> 16 & 0xffff;
    // Eleven bits with a sign.
    let scale = ((modifier & 0x7ff) ^ 1024) - 1024;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if (0..=precision as i8).contains(&scale) => {
            DataType::Decimal128(precision, scale)
        }
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_have_a_decimal_where_it_holds_all_values() {
        let modifier = |precision: i32, scale: i32| (precision << 16 | scale & 0x7ff) + MODIFIER_HEADER;
        assert_eq!(decimal(modifier(10, 2)), DataType::Decimal128(10, 2));
        assert_eq!(decimal(modifier(38, 38)), DataType::Decimal128(38, 38));
        for (precision, scale) in [(39, 2), (3, -2), (2, 3), (1000, 0)] {
            assert_eq!(decimal(modifier(precision, scale)), DataType::Utf8, "{precision} {scale}");
        }
        assert_eq!(decimal(-1), DataType::Utf8);
    }
}
