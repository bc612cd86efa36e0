//! A template file as its author wrote it: typed, with places, names not yet resolved.

use super::section::Text;

#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) values: Vec<Value>,
    pub(super) streams: Vec<Stream>,
    pub(super) defects: Vec<Defect>,
    pub(super) counters: Vec<Counter>,
    pub(super) files: Vec<File>,
    pub(super) readme: Option<Readme>,
    pub(super) days: Option<Days>,
}

/// Something that is drawn: once a record, or each time that it is written.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) name: Text,
    pub(super) once_a_record: bool,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Choice(Vec<(String, u32)>),
    Chance(f64),
    Integer {
        range: (i64, i64),
        width: usize,
    },
    Digits(u32),
    Sequence {
        first: f64,
        step: f64,
        decimals: u32,
        width: usize,
    },
    Date((i64, i64)),
    After {
        date: Text,
        days: (i64, i64),
    },
    Words {
        words: Vec<String>,
        lengths: Vec<u32>,
    },
    Text(Text),
    /// A text of digits and its check digit; the check covers `prefix` too.
    Luhn {
        text: Text,
        prefix: String,
    },
    List {
        item: Text,
        lengths: Vec<u32>,
    },
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Text,
    pub(super) path: Text,
    pub(super) body: Body,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug)]
pub(super) enum Body {
    Records { layout: Layout, record: Text },
    Dicom { tags: Vec<(Text, Text)>, image: Image },
    Png(Image),
    Table(Table),
}

/// A table of a database.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) relation: Text,
    /// The statement that makes it, where it is not there.
    pub(super) create: Text,
    /// What each column holds; an empty text is NULL.
    pub(super) columns: Vec<(Text, Text)>,
    pub(super) rows: Rows,
}

/// Where the rows of a table come from.
#[derive(Debug)]
pub(super) enum Rows {
    /// A row a record; `key` tells them apart, and a change is one of the columns `update`.
    Records { key: Text, update: Vec<Text> },
    /// These, which never change: the values of all columns.
    Fixed(Vec<Vec<String>>),
}

/// How data goes on from day to day. Numbers are shares of the records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Days {
    /// Day 0, in days since 1970-01-01.
    pub(super) first: i64,
    pub(super) insert: f64,
    pub(super) update: f64,
    pub(super) delete: f64,
    /// Records of a day's files that the tables hold.
    pub(super) known: f64,
    /// Records of a day's files that they do not hold.
    pub(super) unknown: f64,
}

/// How records stand in a file.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    /// One JSON array.
    Json,
    /// A JSON value a line.
    Ndjson,
    /// A line of column names, then a line a record.
    Csv { header: String },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) pattern: Pattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Gradient,
    Phantom,
}

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) value: Text,
    pub(super) test: Test,
}

#[derive(Debug)]
pub(super) enum Test {
    OneOf(Vec<Text>),
    Is(bool),
    /// Both bounds are included.
    Between(i64, i64),
}

#[derive(Debug)]
pub(super) struct Defect {
    pub(super) name: Text,
    pub(super) stream: Text,
    pub(super) weight: u32,
    /// The text that is replaced in the stream's template, and what stands there instead.
    pub(super) replace: Option<(Text, Text)>,
    pub(super) then: Option<Again>,
    /// Whether the record still counts as a good one in the truth.
    pub(super) good: bool,
}

/// What comes after a good record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The same bytes.
    Same,
    /// Another draw of the same id, with the replacement.
    Anew,
}

#[derive(Debug)]
pub(super) struct Counter {
    pub(super) name: Text,
    pub(super) counts: Counts,
}

#[derive(Debug)]
pub(super) enum Counts {
    /// The records written to a stream.
    Stream(Text),
    /// The records that have one of these defects.
    Defects(Vec<Text>),
    /// The good records that meet every condition; or the sum of the lengths of a list of theirs.
    Good {
        conditions: Vec<Condition>,
        any: Option<(Text, Vec<Condition>)>,
        none: Option<(Text, Vec<Condition>)>,
        sum: Option<Text>,
    },
}

/// A file that is written as it stands in the template.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: Text,
    pub(super) content: Text,
    pub(super) latin1: bool,
    pub(super) gzip: bool,
    pub(super) wrong: String,
    pub(super) outcome: String,
    /// What the file adds to the counters of the truth.
    pub(super) truth: Vec<(Text, u32)>,
}

/// A page that begins with `text` and ends with a table of the files.
#[derive(Debug, Clone)]
pub(super) struct Readme {
    pub(super) path: Text,
    pub(super) text: String,
}
