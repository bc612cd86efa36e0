//! What a right pipeline must find in the data: named counters, counted while it is made.

use super::compile::Compiler;
use super::program::{Draw, Program, made_of};
use super::section::Text;
use super::spec::{Condition, Counts, Test as RawTest};

/// A condition on what was drawn.
pub(super) enum Test {
    /// A choice: whether the drawn one is among the wanted.
    OneOf {
        slot: usize,
        wanted: Vec<bool>,
    },
    Between {
        slot: usize,
        min: i64,
        max: i64,
    },
}

impl Test {
    #[inline]
    pub(super) fn holds(&self, slots: &[i64]) -> bool {
        match self {
            Self::OneOf { slot, wanted } => wanted.get(slots[*slot] as usize).copied().unwrap_or(false),
            Self::Between { slot, min, max } => (*min..=*max).contains(&slots[*slot]),
        }
    }
}

/// Conditions that are looked at after each item of a list.
pub(super) struct Watch {
    pub(super) list: usize,
    pub(super) tests: Vec<Test>,
}

/// The counters of a template file, in its order.
pub(super) struct Truth {
    pub(super) names: Vec<String>,
    counts: Vec<Count>,
    /// At most 64, one bit of what a record has seen each.
    pub(super) watches: Vec<Watch>,
}

enum Count {
    Stream(usize),
    Defects(Vec<usize>),
    Good { tests: Vec<Test>, any: u64, none: u64, sum: Option<usize> },
}

impl Truth {
    pub(super) fn compile(compiler: &Compiler<'_>, program: &Program) -> Self {
        let mut truth = Self { names: Vec::new(), counts: Vec::new(), watches: Vec::new() };
        for counter in &compiler.spec.counters {
            let count = truth.count(compiler, program, &counter.counts);
            truth.names.push(counter.name.text.clone());
            truth.counts.extend(count);
        }
        if let (Some(counter), true) = (compiler.spec.counters.first(), truth.watches.len() > 64) {
            let message = "more than 64 conditions on items of lists";
            compiler.source.problem(counter.name.at, message, None);
        }
        truth
    }

    fn count(&mut self, compiler: &Compiler<'_>, program: &Program, counts: &Counts) -> Option<Count> {
        let spec = compiler.spec;
        Some(match counts {
            Counts::Stream(name) => {
                let names = || spec.streams.iter().map(|s| s.name.text.as_str());
                Count::Stream(index(compiler, "stream", name, names)?)
            }
            Counts::Defects(defects) => {
                let names = || spec.defects.iter().map(|d| d.name.text.as_str());
                let number = |name| index(compiler, "defect", name, names);
                Count::Defects(defects.iter().filter_map(number).collect())
            }
            Counts::Good { conditions, any, none, sum } => {
                let tests = of_record(compiler, program, conditions);
                let any = self.watch(compiler, program, any.as_ref());
                let none = self.watch(compiler, program, none.as_ref());
                let sum = match sum {
                    Some(name) => Some(list(compiler, program, name)?),
                    None => None,
                };
                Count::Good { tests, any, none, sum }
            }
        })
    }

    /// The bit of a new watch, or no bit.
    fn watch(&mut self, compiler: &Compiler<'_>, program: &Program, items: Option<&(Text, Vec<Condition>)>) -> u64 {
        let Some((name, conditions)) = items else {
            return 0;
        };
        let Some(list) = list(compiler, program, name) else {
            return 0;
        };
        let parts = made_of(&program.draws, list);
        let test = |condition: &Condition| {
            let slot = compiler.value(&condition.value)?;
            let Text { text, at } = &condition.value;
            if !parts.contains(&slot) {
                let message = format!("the items of '{}' do not hold '{text}'", name.text);
                compiler.source.problem(*at, message, None);
                return None;
            }
            test(compiler, program, slot, condition)
        };
        let tests = conditions.iter().filter_map(test).collect();
        self.watches.push(Watch { list, tests });
        1u64.checked_shl(self.watches.len() as u32 - 1).unwrap_or(0)
    }

    /// Counts a good record, whose values and items were just drawn.
    #[inline]
    pub(super) fn tally(&self, slots: &[i64], seen: u64, totals: &mut [u64]) {
        for (count, total) in self.counts.iter().zip(totals) {
            if let Count::Good { tests, any, none, sum } = count {
                let items = seen & any == *any && seen & none == 0;
                if items && tests.iter().all(|test| test.holds(slots)) {
                    *total += sum.map_or(1, |list| slots[list] as u64);
                }
            }
        }
    }

    /// Counts a record that has a defect.
    pub(super) fn tally_defect(&self, defect: usize, totals: &mut [u64]) {
        for (count, total) in self.counts.iter().zip(totals) {
            if matches!(count, Count::Defects(wanted) if wanted.contains(&defect)) {
                *total += 1;
            }
        }
    }

    /// Counts records written to a stream.
    pub(super) fn tally_stream(&self, stream: usize, records: u64, totals: &mut [u64]) {
        for (count, total) in self.counts.iter().zip(totals) {
            if matches!(count, Count::Stream(wanted) if *wanted == stream) {
                *total += records;
            }
        }
    }
}

/// Conditions on the record itself: what is drawn once for it, and the lengths of its lists.
pub(super) fn of_record(compiler: &Compiler<'_>, program: &Program, conditions: &[Condition]) -> Vec<Test> {
    let one = |condition: &Condition| {
        let slot = compiler.value(&condition.value)?;
        let list = matches!(program.draws[slot], Draw::List { .. });
        if !list && !program.once.contains(&slot) {
            let message = format!("'{}' is drawn more than once a record", condition.value.text);
            let hint = "describe it under [record], or ask with 'any' or 'none'".to_owned();
            compiler.source.problem(condition.value.at, message, Some(hint));
            return None;
        }
        test(compiler, program, slot, condition)
    };
    conditions.iter().filter_map(one).collect()
}

fn test(compiler: &Compiler<'_>, program: &Program, slot: usize, condition: &Condition) -> Option<Test> {
    let Text { text: name, at } = &condition.value;
    match (&program.draws[slot], &condition.test) {
        (Draw::Choice { texts, .. }, RawTest::OneOf(wanted)) => {
            let known = || texts.iter().filter_map(|text| std::str::from_utf8(text).ok());
            for text in wanted.iter().filter(|text| !known().any(|k| k == text.text)) {
                compiler.source.unknown(text.at, &format!("choice of '{name}'"), &text.text, known());
            }
            let is_wanted = |text: &[u8]| wanted.iter().any(|w| w.text.as_bytes() == text);
            let wanted = texts.iter().map(|text| is_wanted(text)).collect();
            Some(Test::OneOf { slot, wanted })
        }
        (Draw::Chance(_), RawTest::Is(is)) => Some(Test::Between { slot, min: i64::from(*is), max: i64::from(*is) }),
        (
            Draw::Integer { .. } | Draw::Date { .. } | Draw::After { .. } | Draw::List { .. },
            RawTest::Between(min, max),
        ) => Some(Test::Between { slot, min: *min, max: *max }),
        _ => {
            let message = format!("'{name}' cannot be compared in this way");
            let hint = "a choice with texts, a chance with true or false, \
                        a number, a date or a list's length with { min = …, max = … }";
            compiler.source.problem(*at, message, Some(hint.to_owned()));
            None
        }
    }
}

fn list(compiler: &Compiler<'_>, program: &Program, name: &Text) -> Option<usize> {
    let number = compiler.value(name)?;
    let is_list = matches!(program.draws[number], Draw::List { .. });
    if !is_list {
        compiler.source.problem(name.at, format!("'{}' is not a list", name.text), None);
    }
    is_list.then_some(number)
}

/// The place of a name among others, or a problem.
pub(super) fn index<'k, I: Iterator<Item = &'k str>>(
    compiler: &Compiler<'_>,
    what: &str,
    name: &Text,
    known: impl Fn() -> I,
) -> Option<usize> {
    let found = known().position(|k| k == name.text);
    if found.is_none() {
        compiler.source.unknown(name.at, what, &name.text, known());
    }
    found
}
