//! From a description to a program: names resolved, chances and weights checked.

use std::cell::Cell;
use std::collections::HashMap;

use super::dice::Chance;
use super::problem::Source;
use super::program::{self, Draw, Piece, Program, Template};
use super::section::Text;
use super::spec::{Body, Kind, Layout, Spec};

/// Weights are added up in a table of at most this many entries.
const MAX_WEIGHT: u64 = 65_536;

/// The names of a template file, and the one replacement that a defect makes in it.
pub(super) struct Compiler<'a> {
    pub(super) source: &'a Source,
    pub(super) spec: &'a Spec,
    names: HashMap<&'a str, usize>,
    replace: Option<&'a (Text, Text)>,
    replaced: Cell<usize>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(source: &'a Source, spec: &'a Spec) -> Self {
        let mut names = HashMap::new();
        for (number, value) in spec.values.iter().enumerate() {
            let Text { text, at } = &value.name;
            if text == "id" || names.insert(text.as_str(), number).is_some() {
                let message = format!("'{text}' is the name of another value");
                source.problem(*at, message, None);
            }
        }
        Self { source, spec, names, replace: None, replaced: Cell::new(0) }
    }

    /// The program of the templates with one text replaced; it must stand in them once.
    pub(super) fn variant(mut self, replace: &'a (Text, Text)) -> Program {
        self.replace = Some(replace);
        let program = self.program();
        let find = &replace.0;
        match self.replaced.get() {
            1 => {}
            0 => self.source.problem(find.at, "no template holds this text", None),
            n => {
                let hint = Some("make it longer, so that it stands in one place".to_owned());
                self.source.problem(find.at, format!("the templates hold this text {n} times"), hint);
            }
        }
        program
    }

    /// The number of a value, or a problem.
    pub(super) fn value(&self, name: &Text) -> Option<usize> {
        let found = self.names.get(name.text.as_str()).copied();
        if found.is_none() {
            let known = self.names.keys().copied();
            self.source.unknown(name.at, "value", &name.text, known);
        }
        found
    }

    /// The program of the templates as they stand.
    pub(super) fn program(&self) -> Program {
        let draws: Vec<Draw> = self.spec.values.iter().map(|v| self.draw(&v.name, &v.kind)).collect();
        let record = |body: &Body| match body {
            Body::Records { record, layout } => {
                // JSON may be laid out over lines by its author and still be one line in a file.
                Some(self.template_of(record, !matches!(layout, Layout::Csv { .. })))
            }
            _ => None,
        };
        let records = self.spec.streams.iter().map(|s| record(&s.body)).collect();
        let mut once = program::dependencies_first(&draws);
        once.retain(|n| self.spec.values.get(*n).is_some_and(|v| v.once_a_record));
        let program = Program { draws, once, records };
        self.refuse_cycles(&program);
        program
    }

    fn draw(&self, name: &Text, kind: &Kind) -> Draw {
        let bytes = |text: &String| text.as_bytes().into();
        match kind {
            Kind::Choice(choices) => Draw::Choice {
                texts: choices.iter().map(|(text, _)| bytes(text)).collect(),
                table: self.weighted(name, choices.iter().map(|(_, weight)| *weight)),
            },
            Kind::Chance(p) => Draw::Chance(self.chance(name, *p)),
            Kind::Integer { range: (min, max), width } => Draw::Integer { min: *min, max: *max, width: *width },
            Kind::Digits(count) => Draw::Digits(*count),
            Kind::Sequence { first, step, decimals, width } => {
                let scale = 10f64.powi(*decimals as i32);
                let scaled = |n: &f64| (n * scale).round() as i64;
                let (first, step) = (scaled(first), scaled(step));
                Draw::Sequence { first, step, decimals: *decimals, width: *width }
            }
            Kind::Date((first, last)) => Draw::Date { first: *first, last: *last },
            Kind::After { date, days: (min, max) } => {
                let date = self.date_of_record(date).unwrap_or_default();
                Draw::After { date, min: *min, max: *max }
            }
            Kind::Words { words, lengths } => {
                Draw::Words { words: words.iter().map(bytes).collect(), lengths: lengths.clone() }
            }
            Kind::Text(text) => Draw::Text(self.template_of(text, true)),
            Kind::Luhn { text, prefix } => Draw::Luhn { text: self.template_of(text, true), prefix: bytes(prefix) },
            Kind::List { item, lengths } => Draw::List { item: self.template_of(item, true), lengths: lengths.clone() },
        }
    }

    /// A table that holds each index as often as its weight says.
    pub(super) fn weighted(&self, name: &Text, weights: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
        let total: u64 = weights.clone().map(u64::from).sum();
        if total == 0 || total > MAX_WEIGHT {
            let message = format!("the weights of '{}' add up to {total}", name.text);
            let hint = format!("between 1 and {MAX_WEIGHT}");
            self.source.problem(name.at, message, Some(hint));
            return Vec::new();
        }
        let repeat = |(index, weight)| std::iter::repeat_n(index, weight as usize);
        (0u32..).zip(weights).flat_map(repeat).collect()
    }

    fn chance(&self, name: &Text, probability: f64) -> Chance {
        Chance::new(probability).unwrap_or_else(|| {
            let message = format!("the chance of '{}' is not between 0 and 1", name.text);
            self.source.problem(name.at, message, None);
            Chance::NEVER
        })
    }

    fn date_of_record(&self, name: &Text) -> Option<usize> {
        let number = self.value(name)?;
        let value = self.spec.values.get(number)?;
        let dated = matches!(value.kind, Kind::Date(_) | Kind::After { .. });
        if !dated || !value.once_a_record {
            let message = format!("'{}' is not a date under [record]", name.text);
            self.source.problem(name.at, message, None);
        }
        Some(number)
    }

    /// Cuts a text into pieces at each `${name}`.
    pub(super) fn template(&self, text: &Text) -> Template {
        self.template_of(text, false)
    }

    fn template_of(&self, text: &Text, fold: bool) -> Template {
        let (text, exact) = self.replaced(text);
        let mut pieces = Vec::new();
        let (mut rest, mut at) = (text.text.as_str(), text.at);
        let literal = |piece: &str, pieces: &mut Vec<Piece>| {
            let piece = if fold { folded(piece) } else { piece.to_owned() };
            if !piece.is_empty() {
                pieces.push(Piece::Text(piece.into_bytes().into()));
            }
        };
        while let Some(start) = rest.find("${") {
            literal(&rest[..start], &mut pieces);
            let name = &rest[start + 2..];
            let place = if exact { at + start } else { at };
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = name.find(|c| !named(c)).unwrap_or(name.len());
            if !name[end..].starts_with('}') {
                self.source.problem(place, "'${' is not closed after a name", None);
                return Template::default();
            }
            pieces.extend(self.placeholder(Text { text: name[..end].to_owned(), at: place }));
            rest = &name[end + 1..];
            at += if exact { start + end + 3 } else { 0 };
        }
        literal(rest.trim_end_matches('\n'), &mut pieces);
        Template(pieces)
    }

    fn placeholder(&self, name: Text) -> Option<Piece> {
        if name.text == "id" {
            return Some(Piece::Id);
        }
        let number = self.value(&name)?;
        let once = self.spec.values.get(number)?.once_a_record;
        Some(if once { Piece::Drawn(number) } else { Piece::Draw(number) })
    }

    /// The text after the defect's replacement, and whether places in it are those of the file.
    fn replaced(&self, text: &Text) -> (Text, bool) {
        if let Some((find, with)) = self.replace {
            let found = text.text.matches(find.text.as_str()).count();
            if found > 0 {
                self.replaced.set(self.replaced.get() + found);
                let text = text.text.replace(find.text.as_str(), &with.text);
                return (Text { text, at: with.at }, false);
            }
        }
        let raw = self.source.text().get(text.at..).unwrap_or_default();
        (text.clone(), raw.starts_with(&text.text))
    }

    fn refuse_cycles(&self, program: &Program) {
        for (number, value) in self.spec.values.iter().enumerate() {
            let Text { text, at } = &value.name;
            if program::made_of(&program.draws, number).contains(&number) {
                self.source.problem(*at, format!("'{text}' is made of itself"), None);
            }
        }
    }
}

/// A line break and the indentation after it become one space.
fn folded(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut folded = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        folded.push(' ');
        folded.push_str(line.trim_start_matches([' ', '\t']));
    }
    folded
}
