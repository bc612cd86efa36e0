//! From a template file's text to its description, or every mistake in it.

use toml_span::value::Value as Toml;

use super::problem::Source;
use super::section::{Section, Text};
use super::spec::{
    Again, Body, Condition, Counter, Counts, Days, Defect, File, Image, Kind, Layout, Pattern, Readme, Rows, Spec,
    Stream, Table, Test, Value,
};
use crate::problem::Problems;

const KINDS: [&str; 11] =
    ["choice", "chance", "integer", "digits", "sequence", "date", "after", "words", "text", "luhn", "list"];

/// Reads a template file; mistakes in its parts are noted in `source`.
pub(super) fn parse(source: &Source) -> Result<Spec, Problems> {
    let document = match toml_span::parse(source.text()) {
        Ok(document) => document,
        Err(error) => {
            source.problem(error.span.start, format!("not TOML: {error}"), None);
            return source.finish().map(|()| Spec::default());
        }
    };
    let spec = Section::new(source, &document).map(top).unwrap_or_default();
    source.finish().map(|()| spec)
}

fn top(root: Section<'_, '_>) -> Spec {
    let mut values = named(&root, "record", |name, s| value(name, s, true));
    values.extend(named(&root, "value", |name, s| value(name, s, false)));
    let spec = Spec {
        values,
        streams: named(&root, "streams", stream),
        defects: named(&root, "defects", defect),
        counters: named(&root, "truth", counter),
        files: root.sections("files").into_iter().filter_map(file).collect(),
        readme: root.section("readme").and_then(|s| {
            let page = (s.required("path", Section::text), s.required("text", Section::text));
            s.done();
            let (path, text) = (page.0?, page.1?.text);
            Some(Readme { path, text })
        }),
        days: root.section("days").and_then(days),
    };
    if spec.streams.is_empty() && !root.has("streams") {
        root.source.problem(root.at, "no stream is described", None);
    }
    root.done();
    spec
}

fn named<T>(root: &Section<'_, '_>, key: &'static str, read: impl Fn(Text, &Section<'_, '_>) -> Option<T>) -> Vec<T> {
    let one = |(name, value): (Text, &Toml<'_>)| {
        let section = Section::new(root.source, value)?;
        let found = read(name, &section);
        section.done();
        found
    };
    root.entries(key).into_iter().filter_map(one).collect()
}

fn value(name: Text, s: &Section<'_, '_>, once_a_record: bool) -> Option<Value> {
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| s.has(kind)).collect();
    let [kind] = kinds[..] else {
        let hint = Some(format!("one of {}", KINDS.join(", ")));
        let message = format!("'{}' must say in one way how it is drawn", name.text);
        s.source.problem(name.at, message, hint);
        return None;
    };
    let width = || s.count("width").unwrap_or(0).min(64) as usize;
    let lengths = || s.required("length", Section::counts);
    let kind = match kind {
        "choice" => Kind::Choice(s.weighted("choice")?),
        "chance" => Kind::Chance(s.number("chance")?),
        "integer" => Kind::Integer { range: s.range("integer")?, width: width() },
        "digits" => Kind::Digits(s.count("digits")?),
        "sequence" => {
            let (first, step) = s.numbers("sequence")?;
            let decimals = s.count("decimals").unwrap_or(0).min(9);
            Kind::Sequence { first, step, decimals, width: width() }
        }
        "date" => Kind::Date(s.dates("date")?),
        "after" => {
            let (date, days) = (s.text("after"), s.required("days", Section::range));
            Kind::After { date: date?, days: days? }
        }
        "words" => {
            let words = s.texts("words")?.into_iter().map(|word| word.text).collect();
            Kind::Words { words, lengths: lengths()? }
        }
        "text" => Kind::Text(s.text("text")?),
        "luhn" => Kind::Luhn {
            text: s.text("luhn")?,
            prefix: s.text("prefix").map_or_else(String::new, |prefix| prefix.text),
        },
        _ => Kind::List { item: s.text("list")?, lengths: lengths()? },
    };
    Some(Value { name, once_a_record, kind })
}

fn stream(name: Text, s: &Section<'_, '_>) -> Option<Stream> {
    let path = s.required("path", Section::text);
    let kind = s.required("kind", Section::text)?;
    let record = || s.required("record", Section::text);
    let records = |layout| Some(Body::Records { layout, record: record()? });
    let body = match kind.text.as_str() {
        "json" => records(Layout::Json),
        "ndjson" => records(Layout::Ndjson),
        "csv" => s.required("header", Section::text).and_then(|header| records(Layout::Csv { header: header.text })),
        "dicom" => {
            let tag = |(name, v): (Text, &Toml<'_>)| {
                let value = s.to_text(v);
                if value.is_none() {
                    s.source.problem(v.span.start, "a tag's value must be a text", None);
                }
                Some((name, value?))
            };
            let tags = s.entries("tags").into_iter().filter_map(tag).collect();
            image(s).map(|image| Body::Dicom { tags, image })
        }
        "png" => image(s).map(Body::Png),
        "table" => table(s).map(Body::Table),
        other => {
            let known = ["json", "ndjson", "csv", "dicom", "png", "table"];
            s.source.unknown(kind.at, "kind of stream", other, known.into_iter());
            // Which keys a stream has depends on its kind.
            s.expect(&["record", "header", "tags", "image", "where", "relation", "create", "columns", "rows"]);
            None
        }
    };
    let conditions = match body {
        Some(Body::Dicom { .. } | Body::Png(_)) => conditions(s.section("where")),
        _ => Vec::new(),
    };
    Some(Stream { name, path: path?, body: body?, conditions })
}

fn table(s: &Section<'_, '_>) -> Option<Table> {
    let (relation, create) = (s.required("relation", Section::text), s.required("create", Section::text));
    let column = |(name, value): (Text, &Toml<'_>)| {
        let text = s.to_text(value);
        if text.is_none() {
            s.source.problem(value.span.start, "what a column holds must be a text", None);
        }
        Some((name, text?))
    };
    let columns: Vec<(Text, Text)> = s.entries("columns").into_iter().filter_map(column).collect();
    let rows = if s.has("rows") { fixed(s, columns.len())? } else { of_records(s, &columns)? };
    Some(Table { relation: relation?, create: create?, columns, rows })
}

fn of_records(s: &Section<'_, '_>, columns: &[(Text, Text)]) -> Option<Rows> {
    let (key, update) = (s.required("key", Section::text)?, s.required("update", Section::texts)?);
    for name in update.iter().chain([&key]) {
        if !columns.iter().any(|(known, _)| known.text == name.text) {
            s.source.unknown(name.at, "column", &name.text, columns.iter().map(|(known, _)| known.text.as_str()));
        }
    }
    Some(Rows::Records { key, update })
}

fn fixed(s: &Section<'_, '_>, columns: usize) -> Option<Rows> {
    let rows: Vec<Vec<String>> =
        s.lists("rows")?.into_iter().map(|row| row.into_iter().map(|text| text.text).collect()).collect();
    if rows.iter().any(|row: &Vec<String>| row.len() != columns) {
        s.source.problem(s.place("rows"), "a row must have a text for each of 'columns'", None);
    }
    Some(Rows::Fixed(rows))
}

fn days(s: Section<'_, '_>) -> Option<Days> {
    let share = |key: &'static str| {
        let share = s.number(key).unwrap_or_default();
        if !(0.0..=1.0).contains(&share) {
            s.source.problem(s.place(key), format!("'{key}' must be a share, from 0 to 1"), None);
        }
        share
    };
    let days = Days {
        first: s.required("first", Section::bound)?,
        insert: share("insert"),
        update: share("update"),
        delete: share("delete"),
        known: share("known"),
        unknown: share("unknown"),
    };
    s.done();
    Some(days)
}

fn image(s: &Section<'_, '_>) -> Option<Image> {
    let image = s.required("image", Section::section)?;
    let side = |key| image.required(key, Section::count).map(|n| n.clamp(1, 4096) as u16);
    let (width, height) = (side("width"), side("height"));
    let pattern = image.required("pattern", Section::text)?;
    let pattern = match pattern.text.as_str() {
        "gradient" => Some(Pattern::Gradient),
        "phantom" => Some(Pattern::Phantom),
        other => {
            let known = ["gradient", "phantom"].into_iter();
            image.source.unknown(pattern.at, "pattern", other, known);
            None
        }
    };
    image.done();
    Some(Image { width: width?, height: height?, pattern: pattern? })
}

fn conditions(section: Option<Section<'_, '_>>) -> Vec<Condition> {
    let Some(section) = section else {
        return Vec::new();
    };
    let one = |(name, value): (Text, &Toml<'_>)| condition(&section, name, value);
    section.all().into_iter().filter_map(one).collect()
}

fn condition(s: &Section<'_, '_>, value: Text, toml: &Toml<'_>) -> Option<Condition> {
    let test = if let Some(is) = toml.as_bool() {
        Some(Test::Is(is))
    } else if toml.as_table().is_some() {
        let bounds = Section::new(s.source, toml)?;
        let (min, max) = (bounds.bound("min"), bounds.bound("max"));
        bounds.done();
        Some(Test::Between(min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX)))
    } else if let Some(list) = toml.as_array() {
        list.iter().map(|v| s.to_text(v)).collect::<Option<_>>().map(Test::OneOf)
    } else {
        s.to_text(toml).map(|text| Test::OneOf(vec![text]))
    };
    if test.is_none() {
        let hint = Some("a list of texts, true or false, or { min = …, max = … }".to_owned());
        s.source.problem(toml.span.start, format!("no condition on '{}'", value.text), hint);
    }
    Some(Condition { value, test: test? })
}

fn defect(name: Text, s: &Section<'_, '_>) -> Option<Defect> {
    let stream = s.required("stream", Section::text);
    let weight = s.count("weight").unwrap_or(1);
    let good = s.boolean("good").unwrap_or(true);
    let replace = s.texts("replace").and_then(|texts| {
        let pair: Option<[Text; 2]> = texts.try_into().ok();
        if pair.is_none() {
            let message = "'replace' must be [what stands in the template, what comes instead]";
            s.source.problem(s.place("replace"), message, None);
        }
        pair.map(|[find, with]| (find, with))
    });
    let then = s.text("then").and_then(|then| match then.text.as_str() {
        "same" => Some(Again::Same),
        "anew" => Some(Again::Anew),
        other => {
            let known = ["same", "anew"].into_iter();
            s.source.unknown(then.at, "way to come again", other, known);
            None
        }
    });
    let understood = (then.is_some() || !s.has("then")) && (replace.is_some() || !s.has("replace"));
    let sensible = match then {
        Some(Again::Same) => replace.is_none(),
        _ => replace.is_some(),
    };
    if understood && !sensible {
        let hint = "then = \"same\" stands alone; all else needs 'replace'".to_owned();
        s.source.problem(name.at, format!("'{}' changes nothing, or twice", name.text), Some(hint));
    }
    Some(Defect { name, stream: stream?, weight, replace, then, good })
}

fn counter(name: Text, s: &Section<'_, '_>) -> Option<Counter> {
    let items = |key: &'static str| {
        let lists = s.section(key)?;
        let [(list, value)] = &lists.all()[..] else {
            s.source.problem(lists.at, format!("'{key}' must name one list"), None);
            return None;
        };
        Some((list.clone(), conditions(Section::new(s.source, value))))
    };
    let ways = [s.has("stream"), s.has("defect")];
    let good = ["where", "any", "none", "sum"].iter().any(|key| s.has(key));
    let counts = match (ways, good) {
        ([true, false], false) => Counts::Stream(s.text("stream")?),
        ([false, true], false) => Counts::Defects(s.texts("defect")?),
        ([false, false], true) => Counts::Good {
            conditions: conditions(s.section("where")),
            any: items("any"),
            none: items("none"),
            sum: s.text("sum"),
        },
        _ => {
            let hint = "stream, or defect, or any of where, any, none and sum".to_owned();
            let message = format!("'{}' must say in one way what it counts", name.text);
            s.source.problem(name.at, message, Some(hint));
            return None;
        }
    };
    Some(Counter { name, counts })
}

fn file(s: Section<'_, '_>) -> Option<File> {
    let path = s.required("path", Section::text);
    let content = s.required("content", Section::text);
    let wrong = s.required("wrong", Section::text);
    let outcome = s.required("outcome", Section::text);
    let one_of = |key: &'static str, known: &'static str| {
        let text = s.text(key);
        if let Some(other) = text.as_ref().filter(|text| text.text != known) {
            s.source.unknown(other.at, key, &other.text, [known].into_iter());
        }
        text.is_some()
    };
    let (latin1, gzip) = (one_of("encoding", "latin-1"), one_of("compress", "gzip"));
    let count = |(name, v): (Text, &Toml<'_>)| match v.as_integer().map(u32::try_from) {
        Some(Ok(n)) => Some((name, n)),
        _ => {
            s.source.problem(v.span.start, "a small whole number is wanted here", None);
            None
        }
    };
    let truth = s.entries("truth").into_iter().filter_map(count).collect();
    s.done();
    let (wrong, outcome) = (wrong?.text, outcome?.text);
    Some(File { path: path?, content: content?, latin1, gzip, wrong, outcome, truth })
}
