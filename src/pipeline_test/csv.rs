//! CSV that tells NULL from an empty text: a field that is empty is NULL, `""` is an empty text.
//!
//! Otherwise as in RFC 4180. Lines that are empty or begin with `#` are no records.

/// A record and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Its first line, from 1.
    pub line: u32,
    /// Its fields; `None` is NULL.
    pub fields: Vec<Option<String>>,
}

/// Reads all records.
///
/// # Errors
/// The line, and what is wrong there.
pub fn parse(text: &str) -> Result<Vec<Record>, (u32, &'static str)> {
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut line = 1;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (first, next) = rest.split_once('\n').unwrap_or((rest, ""));
        if first.trim().is_empty() || first.starts_with('#') {
            (rest, line) = (next, line + 1);
            continue;
        }
        let (fields, after) = record(rest).map_err(|problem| (line, problem))?;
        records.push(Record { line, fields });
        let taken = &rest[..rest.len() - after.len()];
        line += taken.bytes().filter(|byte| *byte == b'\n').count() as u32;
        rest = after;
    }
    Ok(records)
}

type Taken<'a, T> = Result<(T, &'a str), &'static str>;

/// The fields up to the end of the record, and what follows it.
fn record(mut rest: &str) -> Taken<'_, Vec<Option<String>>> {
    let mut fields = Vec::new();
    loop {
        let (field, after) = field(rest)?;
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok((fields, after.strip_prefix('\n').unwrap_or(after))),
        }
    }
}

fn field(rest: &str) -> Taken<'_, Option<String>> {
    let Some(mut rest) = rest.strip_prefix('"') else {
        let (text, after) = rest.split_at(rest.find([',', '\n']).unwrap_or(rest.len()));
        let text = text.strip_suffix('\r').filter(|_| !after.starts_with(',')).unwrap_or(text);
        return Ok((Some(text.to_owned()).filter(|text| !text.is_empty()), after));
    };
    let mut text = String::new();
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quoted field is not closed")?;
        text.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                text.push('"');
                rest = more;
            }
            None => {
                let after = if after.starts_with("\r\n") { &after[1..] } else { after };
                let ended = after.is_empty() || after.starts_with([',', '\n']);
                return if ended { Ok((Some(text), after)) } else { Err("text after a quoted field") };
            }
        }
    }
}

/// A record as it stands in a file, without the line's end.
pub fn line(fields: &[Option<String>]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let written = fields.iter().map(|field| match field {
        None => String::new(),
        Some(text) if text.is_empty() || text.starts_with('#') || text.contains([',', '"', '\n', '\r']) => quoted(text),
        Some(text) => text.clone(),
    });
    written.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<Option<String>>> {
        parse(text).unwrap().into_iter().map(|record| record.fields).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_empty_field_is_null_and_a_quoted_one_is_empty() {
        assert_eq!(fields("a,,\"\"\n"), [[some("a"), None, some("")]]);
        assert_eq!(fields(",\n"), [[None, None]]);
    }

    #[test]
    fn quotes_hold_commas_lines_and_quotes() {
        assert_eq!(
            fields("\"a,\"\"b\"\"\nc\",d\r\ne,\"f\"\r\n"),
            [[some("a,\"b\"\nc"), some("d")], [some("e"), some("f")]]
        );
    }

    #[test]
    fn records_know_their_line() {
        let records = parse("# why\na\n\n\"b\nc\"\nd").unwrap();
        assert_eq!(records.iter().map(|record| record.line).collect::<Vec<_>>(), [2, 4, 6]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(parse("a\n\"b"), Err((2, "a quoted field is not closed")));
        assert_eq!(parse("a\n\"b\"c\n"), Err((2, "text after a quoted field")));
    }

    #[test]
    fn what_is_written_reads_back() {
        let record = vec![some("a,b"), None, some(""), some("x\"\ny"), some("#1"), some("é")];
        assert_eq!(fields(&line(&record)), [record]);
    }
}
