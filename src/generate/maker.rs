//! Draws records and appends them to a buffer: the loop that the time goes into.

use super::calendar;
use super::dice::Dice;
use super::program::{Draw, Piece, Program, Template};
use super::truth::Watch;

/// The state of a draw: what the record's values are, and what has been seen in its lists.
pub(super) struct Maker<'a> {
    pub(super) dice: Dice,
    /// The number of the record.
    pub(super) id: u64,
    /// What was drawn last for each value: a choice's index, a day, a length, 0 or 1.
    pub(super) slots: Vec<i64>,
    /// Bit `n` is set when an item met the conditions of the `n`-th watch.
    pub(super) seen: u64,
    drawn: Vec<Vec<u8>>,
    watches: &'a [Watch],
}

impl<'a> Maker<'a> {
    pub(super) fn new(dice: Dice, values: usize, watches: &'a [Watch]) -> Self {
        Self { dice, id: 0, slots: vec![0; values], seen: 0, drawn: vec![Vec::new(); values], watches }
    }

    /// Draws the values of record `id`.
    pub(super) fn begin(&mut self, program: &Program, id: u64) {
        self.id = id;
        self.seen = 0;
        for &number in &program.once {
            let mut text = std::mem::take(&mut self.drawn[number]);
            text.clear();
            self.draw(program, number, &mut text);
            self.drawn[number] = text;
        }
    }

    /// Appends the template, filled in.
    pub(super) fn write(&mut self, program: &Program, template: &Template, out: &mut Vec<u8>) {
        for piece in &template.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Id => write_integer(self.id as i64, 0, out),
                Piece::Drawn(number) => out.extend_from_slice(&self.drawn[*number]),
                Piece::Draw(number) => self.draw(program, *number, out),
            }
        }
    }

    fn draw(&mut self, program: &Program, number: usize, out: &mut Vec<u8>) {
        let drawn = match &program.draws[number] {
            Draw::Choice { texts, table } => {
                let choice = self.dice.pick(table).copied().unwrap_or_default();
                out.extend_from_slice(texts.get(choice as usize).map_or(&[], |text| &text[..]));
                i64::from(choice)
            }
            Draw::Chance(chance) => {
                let hit = self.dice.hits(*chance);
                out.extend_from_slice(if hit { b"true" } else { b"false" });
                i64::from(hit)
            }
            Draw::Integer { min, max, width } => {
                let n = self.dice.between(*min, *max);
                write_integer(n, *width, out);
                n
            }
            Draw::Digits(count) => {
                self.write_digits(*count, out);
                0
            }
            Draw::Sequence { first, step, decimals, width } => {
                let n = first.wrapping_add(step.wrapping_mul(self.id as i64));
                write_decimal(n, *decimals, *width, out);
                n
            }
            Draw::Date { first, last } => self.write_date(*first, *last, out),
            Draw::After { date, min, max } => {
                let day = self.slots[*date];
                self.write_date(day + min, day + max, out)
            }
            Draw::Words { words, lengths } => {
                let length = self.dice.pick(lengths).copied().unwrap_or_default();
                self.write_words(words, length, out);
                i64::from(length)
            }
            Draw::Text(template) => {
                self.write(program, template, out);
                0
            }
            Draw::Luhn { text, prefix } => {
                let first = out.len();
                self.write(program, text, out);
                let digit = check_digit(prefix.iter().chain(&out[first..]));
                out.push(b'0' + digit);
                0
            }
            Draw::List { item, lengths } => {
                let length = self.dice.pick(lengths).copied().unwrap_or_default();
                self.write_list(program, number, item, length, out);
                i64::from(length)
            }
        };
        self.slots[number] = drawn;
    }

    fn write_date(&mut self, first: i64, last: i64, out: &mut Vec<u8>) -> i64 {
        let day = self.dice.between(first, last);
        calendar::write(day, out);
        day
    }

    fn write_digits(&mut self, count: u32, out: &mut Vec<u8>) {
        // No leading zero: the parts of a DICOM UID may not have one.
        for n in 0..count {
            let digit = if n == 0 { 1 + self.dice.below(9) } else { self.dice.below(10) };
            out.push(b'0' + digit as u8);
        }
    }

    fn write_words(&mut self, words: &[Box<[u8]>], length: u32, out: &mut Vec<u8>) {
        for n in 0..length {
            if n > 0 {
                out.push(b' ');
            }
            if let Some(word) = self.dice.pick(words) {
                out.extend_from_slice(word);
            }
        }
    }

    fn write_list(&mut self, program: &Program, list: usize, item: &Template, length: u32, out: &mut Vec<u8>) {
        for n in 0..length {
            if n > 0 {
                out.extend_from_slice(b", ");
            }
            self.write(program, item, out);
            for (bit, watch) in self.watches.iter().enumerate() {
                if watch.list == list && watch.tests.iter().all(|t| t.holds(&self.slots)) {
                    self.seen |= 1 << bit;
                }
            }
        }
    }
}

/// The digit with which the digits of a text pass Luhn's test; what is no digit is left out.
fn check_digit<'d>(text: impl DoubleEndedIterator<Item = &'d u8>) -> u8 {
    let digits = text.rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    // Every second digit counts twice, the last one first: the check digit comes behind it.
    let weighed = digits.enumerate().map(|(place, digit)| match place % 2 {
        0 => 2 * digit / 10 + 2 * digit % 10,
        _ => digit,
    });
    ((10 - weighed.sum::<u32>() % 10) % 10) as u8
}

fn write_integer(n: i64, width: usize, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    write_unsigned(n.unsigned_abs(), width, out);
}

fn write_unsigned(mut n: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 64];
    let mut start = digits.len();
    while n > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    start = start.min(digits.len() - width.min(digits.len()));
    out.extend_from_slice(&digits[start..]);
}

fn write_decimal(n: i64, decimals: u32, width: usize, out: &mut Vec<u8>) {
    let scale = 10u64.pow(decimals);
    if n < 0 {
        out.push(b'-');
    }
    write_unsigned(n.unsigned_abs() / scale, width, out);
    if decimals > 0 {
        out.push(b'.');
        write_unsigned(n.unsigned_abs() % scale, decimals as usize, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_that_luhn_wants() {
        assert_eq!(check_digit(b"7992739871".iter()), 3);
        // The example in the standard of provider identifiers.
        assert_eq!(check_digit(b"80840123456789".iter()), 3);
        assert_eq!(check_digit(b"0".iter()), 0);
    }

    #[test]
    fn numbers_are_written_with_their_width_and_decimals() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(written(&|out| write_integer(0, 0, out)), "0");
        assert_eq!(written(&|out| write_integer(-42, 4, out)), "-0042");
        assert_eq!(written(&|out| write_integer(i64::MIN, 0, out)), "-9223372036854775808");
        assert_eq!(written(&|out| write_decimal(15_800_000_005, 1, 0, out)), "1580000000.5");
        assert_eq!(written(&|out| write_decimal(-5, 2, 0, out)), "-0.05");
        assert_eq!(written(&|out| write_decimal(7, 0, 3, out)), "007");
    }
}
