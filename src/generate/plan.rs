//! A checked template file: what is made, ready to be made.

use super::compile::Compiler;
use super::dice::Dice;
use super::image::{self, Encoding};
use super::maker::Maker;
use super::problem::Source;
use super::program::{Piece, Program, Template};
use super::section::Text;
use super::spec::{self, Again, Body, Condition, Image, Layout, Spec};
use super::truth::{self, Test, Truth};
use crate::problem::Problems;

pub(super) struct Plan {
    pub(super) base: Program,
    pub(super) streams: Vec<Stream>,
    pub(super) defects: Vec<Defect>,
    /// The number of each defect as often as it weighs.
    pub(super) defect_table: Vec<u32>,
    pub(super) truth: Truth,
    pub(super) files: Vec<File>,
    pub(super) readme: Option<spec::Readme>,
    pub(super) days: Option<spec::Days>,
    pub(super) defect_names: Vec<String>,
    stream_names: Vec<String>,
}

pub(super) enum Stream {
    /// `path` has `${start}` and `${file}` in it.
    Records {
        path: String,
        layout: Layout,
    },
    Images {
        path: Template,
        tests: Vec<Test>,
        encoding: Encoding,
        image: Image,
    },
    Table(Table),
}

/// A table of a database; `path` is where it goes without one, and has `${day}` in it.
pub(super) struct Table {
    pub(super) path: String,
    pub(super) relation: String,
    pub(super) create: String,
    pub(super) columns: Vec<(String, Template)>,
    pub(super) rows: TableRows,
}

pub(super) enum TableRows {
    /// The places of the key and of the columns that change.
    Records {
        key: usize,
        update: Vec<usize>,
    },
    Fixed(Vec<Vec<String>>),
}

pub(super) struct Defect {
    pub(super) stream: usize,
    /// The templates with the defect's replacement.
    pub(super) variant: Option<Program>,
    pub(super) then: Option<Again>,
    pub(super) good: bool,
}

/// A file that is written as it is, and what it adds to each counter of the truth.
pub(super) struct File {
    pub(super) file: spec::File,
    pub(super) truth: Vec<(usize, u64)>,
}

/// Records that are drawn to see whether a template gives what its layout promises.
const TRIALS: u64 = 50;

impl Plan {
    /// Reads and checks a template file.
    pub(super) fn new(template: &str, template_path: &str) -> Result<Self, Problems> {
        let source = Source::new(template_path, template);
        let spec = super::parse::parse(&source)?;
        let base = Compiler::new(&source, &spec).program();
        source.finish()?;

        let compiler = Compiler::new(&source, &spec);
        let truth = Truth::compile(&compiler, &base);
        let defects = spec.defects.iter().filter_map(|d| defect(&source, &spec, d)).collect();
        let defect_table = match spec.defects.first() {
            Some(first) => compiler.weighted(&first.name, spec.defects.iter().map(|d| d.weight)),
            None => Vec::new(),
        };
        let streams = spec.streams.iter().map(|s| stream(&compiler, &base, s)).collect();
        refuse_same_paths(&source, &spec);
        let files = spec.files.iter().map(|f| counted(&compiler, &truth, f)).collect();
        if let Some(readme) = &spec.readme {
            inside(&source, &readme.path);
        }
        source.finish()?;

        let defect_names = spec.defects.iter().map(|d| d.name.text.clone()).collect();
        let stream_names = spec.streams.iter().map(|s| s.name.text.clone()).collect();
        let plan = Self {
            defect_names,
            stream_names,
            base,
            streams,
            defects,
            defect_table,
            truth,
            files,
            readme: spec.readme.clone(),
            days: spec.days,
        };
        plan.try_records(&source, &spec);
        source.finish().map(|()| plan)
    }

    /// The name of the stream of this number.
    pub(super) fn stream_name(&self, stream: usize) -> &str {
        self.stream_names.get(stream).map_or("", String::as_str)
    }

    /// A maker of records whose draws depend on the seed and the stream alone.
    pub(super) fn maker(&self, seed: u64, stream: u64) -> Maker<'_> {
        Maker::new(Dice::new(seed, stream), self.base.draws.len(), &self.truth.watches)
    }

    /// Draws some records of every JSON stream, with and without defects, and reads them.
    fn try_records(&self, source: &Source, spec: &Spec) {
        for (stream, made) in spec.streams.iter().zip(0..) {
            let Body::Records { layout, record } = &stream.body else {
                continue;
            };
            if matches!(layout, Layout::Csv { .. }) {
                continue;
            }
            if let Some(message) = self.try_json(&self.base, made) {
                source.problem(record.at, message, None);
                continue;
            }
            for (defect, spec) in self.defects.iter().zip(&spec.defects) {
                if let (Some(variant), Some((_, with))) = (&defect.variant, &spec.replace)
                    && let Some(message) = self.try_json(variant, made)
                {
                    source.problem(with.at, message, None);
                }
            }
        }
    }

    /// Why a record of the stream is not JSON, if one is not.
    fn try_json(&self, program: &Program, stream: usize) -> Option<String> {
        let template = program.records.get(stream)?.as_ref()?;
        let mut maker = self.maker(0, 0);
        let mut record = Vec::new();
        for id in 1..=TRIALS {
            record.clear();
            maker.begin(program, id);
            maker.write(program, template, &mut record);
            if let Err(error) = serde_json::from_slice::<serde_json::Value>(&record) {
                let end = error.column().min(record.len());
                let near = String::from_utf8_lossy(&record[end.saturating_sub(40)..end]);
                return Some(format!("a record of this template is not JSON: {error}, at the end of: {near}"));
            }
        }
        None
    }
}

fn defect(source: &Source, spec: &Spec, defect: &spec::Defect) -> Option<Defect> {
    let compiler = Compiler::new(source, spec);
    let names = || spec.streams.iter().map(|s| s.name.text.as_str());
    let stream = truth::index(&compiler, "stream", &defect.stream, names)?;
    let variant = defect.replace.as_ref().map(|replace| compiler.variant(replace));
    Some(Defect { stream, variant, then: defect.then, good: defect.good })
}

fn stream(compiler: &Compiler<'_>, base: &Program, stream: &spec::Stream) -> Stream {
    inside(compiler.source, &stream.path);
    let images = |encoding, image: &Image| Stream::Images {
        path: of_record_only(compiler, &stream.path),
        tests: conditions(compiler, base, &stream.conditions),
        encoding,
        image: *image,
    };
    match &stream.body {
        Body::Records { layout, .. } => {
            must_hold(compiler, &stream.path);
            let path = &stream.path;
            Stream::Records { path: path.text.clone(), layout: layout.clone() }
        }
        Body::Dicom { tags, image } => {
            let tag = |(keyword, value): &(Text, Text)| {
                let template = of_record_only(compiler, value);
                image::attribute(compiler.source, keyword).map(|(tag, vr)| (tag, vr, template))
            };
            images(Encoding::Dicom(tags.iter().filter_map(tag).collect()), image)
        }
        Body::Png(image) => images(Encoding::Png, image),
        Body::Table(table) => {
            must_hold(compiler, &stream.path);
            Stream::Table(self::table(compiler, &stream.path, table))
        }
    }
}

/// Files must not overwrite each other.
fn must_hold(compiler: &Compiler<'_>, path: &Text) {
    let part = if compiler.spec.days.is_some() { "${day}" } else { "${file}" };
    if !path.text.contains(part) {
        let message = format!("the path must hold {part}, so that files do not overwrite each other");
        compiler.source.problem(path.at, message, None);
    }
}

fn table(compiler: &Compiler<'_>, path: &Text, table: &spec::Table) -> Table {
    if compiler.spec.days.is_none() {
        let hint = Some("add [days]".to_owned());
        compiler.source.problem(table.relation.at, "a table needs to know how it goes on from day to day", hint);
    }
    let place = |name: &Text| table.columns.iter().position(|(known, _)| known.text == name.text);
    let rows = match &table.rows {
        spec::Rows::Fixed(rows) => TableRows::Fixed(rows.clone()),
        spec::Rows::Records { key, update } => TableRows::Records {
            key: place(key).unwrap_or_default(),
            update: update.iter().filter_map(place).collect(),
        },
    };
    let column = |(name, text): &(Text, Text)| (name.text.clone(), compiler.template(text));
    Table {
        path: path.text.clone(),
        relation: table.relation.text.clone(),
        create: table.create.text.clone(),
        columns: table.columns.iter().map(column).collect(),
        rows,
    }
}

/// A template that gives the same text each time that it is written for a record.
fn of_record_only(compiler: &Compiler<'_>, text: &Text) -> Template {
    let template = compiler.template(text);
    if template.0.iter().any(|piece| matches!(piece, Piece::Draw(_))) {
        let message = "an image may hold only what is drawn once a record";
        compiler.source.problem(text.at, message, Some("describe it under [record]".to_owned()));
    }
    template
}

fn conditions(compiler: &Compiler<'_>, base: &Program, conditions: &[Condition]) -> Vec<Test> {
    truth::of_record(compiler, base, conditions)
}

fn counted(compiler: &Compiler<'_>, truth: &Truth, file: &spec::File) -> File {
    inside(compiler.source, &file.path);
    if let Some(c) = file.content.text.chars().find(|c| file.latin1 && u32::from(*c) > 0xff) {
        let message = format!("'{c}' is not a character of latin-1");
        compiler.source.problem(file.content.at, message, None);
    }
    let names = || truth.names.iter().map(String::as_str);
    let one = |(name, n): &(Text, u32)| {
        truth::index(compiler, "counter", name, names).map(|counter| (counter, u64::from(*n)))
    };
    let counts = file.truth.iter().filter_map(one).collect();
    File { file: file.clone(), truth: counts }
}

fn refuse_same_paths(source: &Source, spec: &Spec) {
    for (n, stream) in spec.streams.iter().enumerate() {
        let Text { text, at } = &stream.path;
        if spec.streams[..n].iter().any(|s| s.path.text == *text) {
            source.problem(*at, "another stream has the same path", None);
        }
    }
}

/// Refuses a path that leads out of the folder that the data goes to.
fn inside(source: &Source, path: &Text) {
    let mut parts = path.text.split(['/', '\\']);
    if path.text.is_empty() || parts.any(|part| part.is_empty() || part == "..") {
        let message = format!("'{}' is not a path below the output folder", path.text);
        source.problem(path.at, message, None);
    }
}
