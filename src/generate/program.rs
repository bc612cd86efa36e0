//! What is run to draw a record: templates cut into pieces that are copied or drawn.

use super::dice::Chance;

/// All that is needed to draw records and to write them.
pub(super) struct Program {
    /// How each value is drawn, by its number.
    pub(super) draws: Vec<Draw>,
    /// The values that are drawn once a record, each after those that it is made of.
    pub(super) once: Vec<usize>,
    /// The template of each stream; `None` for a stream of images.
    pub(super) records: Vec<Option<Template>>,
}

/// Pieces of output, in order.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Template(pub(super) Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(Box<[u8]>),
    /// The number of the record.
    Id,
    /// A value that was drawn for the record.
    Drawn(usize),
    /// A value that is drawn here.
    Draw(usize),
}

pub(super) enum Draw {
    /// `table` holds each choice as often as it weighs.
    Choice {
        texts: Vec<Box<[u8]>>,
        table: Vec<u32>,
    },
    Chance(Chance),
    Integer {
        min: i64,
        max: i64,
        width: usize,
    },
    Digits(u32),
    /// `first` and `step` in units of the last decimal.
    Sequence {
        first: i64,
        step: i64,
        decimals: u32,
        width: usize,
    },
    Date {
        first: i64,
        last: i64,
    },
    After {
        date: usize,
        min: i64,
        max: i64,
    },
    Words {
        words: Vec<Box<[u8]>>,
        lengths: Vec<u32>,
    },
    Text(Template),
    Luhn {
        text: Template,
        prefix: Box<[u8]>,
    },
    List {
        item: Template,
        lengths: Vec<u32>,
    },
}

/// The values, each after those that it is made of.
pub(super) fn dependencies_first(draws: &[Draw]) -> Vec<usize> {
    let mut visited = vec![false; draws.len()];
    let mut order = Vec::new();
    for number in 0..draws.len() {
        visit(number, draws, &mut visited, &mut order);
    }
    order
}

fn visit(number: usize, draws: &[Draw], visited: &mut [bool], order: &mut Vec<usize>) {
    if std::mem::replace(&mut visited[number], true) {
        return;
    }
    for part in parts(&draws[number]) {
        visit(part, draws, visited, order);
    }
    order.push(number);
}

/// The values that a value is made of, and those that these are made of.
pub(super) fn made_of(draws: &[Draw], number: usize) -> Vec<usize> {
    let mut found = parts(&draws[number]);
    let mut next = 0;
    while let Some(&part) = found.get(next) {
        for deeper in parts(&draws[part]) {
            if !found.contains(&deeper) {
                found.push(deeper);
            }
        }
        next += 1;
    }
    found
}

fn parts(draw: &Draw) -> Vec<usize> {
    match draw {
        Draw::Text(template) | Draw::List { item: template, .. } | Draw::Luhn { text: template, .. } => template
            .0
            .iter()
            .filter_map(|piece| match piece {
                Piece::Drawn(n) | Piece::Draw(n) => Some(*n),
                _ => None,
            })
            .collect(),
        Draw::After { date, .. } => vec![*date],
        _ => Vec::new(),
    }
}
