//! The values of a table's row, as COPY and as SQL want them.

/// Appends a row in COPY's CSV form; an empty value is NULL.
pub(super) fn copy_line(values: &[Vec<u8>], out: &mut Vec<u8>) {
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if !value.is_empty() {
            quoted(value, b'"', out);
        }
    }
    out.push(b'\n');
}

/// A value as SQL has it; an empty one is NULL.
pub(super) fn literal(value: &[u8]) -> String {
    if value.is_empty() {
        return "NULL".to_owned();
    }
    let mut out = Vec::new();
    quoted(value, b'\'', &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A name as SQL has it, whatever characters it holds.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name, with or without its schema.
pub(super) fn relation(relation: &str) -> String {
    relation.split('.').map(name).collect::<Vec<_>>().join(".")
}

fn quoted(value: &[u8], quote: u8, out: &mut Vec<u8>) {
    out.push(quote);
    for byte in value {
        if *byte == quote {
            out.push(quote);
        }
        out.push(*byte);
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_nothing_is_null() {
        let mut line = Vec::new();
        copy_line(&[b"a,\"b\"".to_vec(), Vec::new(), b"O'Hara".to_vec()], &mut line);
        assert_eq!(String::from_utf8_lossy(&line), "\"a,\"\"b\"\"\",,\"O'Hara\"\n");
        assert_eq!([literal(b"O'Hara"), literal(b"")], ["'O''Hara'", "NULL"]);
        assert_eq!(relation("public.odd\"name"), "\"public\".\"odd\"\"name\"");
    }
}
