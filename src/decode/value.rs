//! One JSON value as one typed value, where nothing is lost by it.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime};

use super::cursor::{Kind, Scalar};

/// Years that every reader of the tables can represent (Python's `datetime` ends there).
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;
/// 0001-01-01 and 10000-01-01, microseconds since 1970-01-01.
const MICROS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;
/// 1970-01-01 in days of the common era.
const EPOCH_DAY: i32 = 719_163;
/// Whole numbers up to here are exact as doubles.
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// A text, a number as it is written, or `true` and `false`.
pub fn string<'a>(json: &Scalar<'a>) -> Option<Cow<'a, str>> {
    match json.kind {
        Kind::Text => json.text(),
        Kind::Number | Kind::Boolean => Some(Cow::Borrowed(json.raw)),
        _ => None,
    }
}

/// `true` and `false`, also as text in any case.
pub fn boolean(json: &Scalar) -> Option<bool> {
    match json.kind {
        Kind::Boolean => Some(json.raw == "true"),
        Kind::Text => {
            let text = json.text()?;
            let text = text.trim();
            match () {
                () if text.eq_ignore_ascii_case("true") => Some(true),
                () if text.eq_ignore_ascii_case("false") => Some(false),
                () => None,
            }
        }
        _ => None,
    }
}

/// The characters of a number, also where it is given as text.
fn numeral<'a>(json: &Scalar<'a>) -> Option<Cow<'a, str>> {
    match json.kind {
        Kind::Number => Some(Cow::Borrowed(json.raw)),
        Kind::Text => {
            let text = match json.text()? {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
            };
            text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)).then_some(text)
        }
        _ => None,
    }
}

/// A whole number of 64 bits; `12.0` is one.
pub fn integer(json: &Scalar) -> Option<i64> {
    let text = numeral(json)?;
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && number.abs() <= EXACT_DOUBLE).then_some(number as i64)
    })
}

/// A number.
pub fn double(json: &Scalar) -> Option<f64> {
    numeral(json)?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A number, as near as 32 bits come to it.
pub fn float(json: &Scalar) -> Option<f32> {
    numeral(json)?.parse().ok().filter(|number: &f32| number.is_finite())
}

/// A decimal number, in units of its last place; without an exponent, and with no digit that the type cannot hold.
pub fn decimal(json: &Scalar, precision: u8, scale: i8) -> Option<i128> {
    let text = numeral(json)?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, &*text),
    };
    let scale = usize::try_from(scale).ok()?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let kept = &fraction[..fraction.len().min(scale)];
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    if fraction[kept.len()..].bytes().any(|digit| digit != b'0') {
        return None;
    }
    let number = format!("{whole}{kept:0<scale$}");
    let number = number.trim_start_matches('0');
    let number: i128 = if number.is_empty() { 0 } else { number.parse().ok()? };
    (number < 10_i128.pow(u32::from(precision))).then_some(sign * number)
}

/// Bytes as PostgreSQL writes them: `\\x` and two hexadecimal digits a byte.
pub fn binary(json: &Scalar) -> Option<Vec<u8>> {
    let text = json.text()?;
    let text = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    text.chunks(2).map(byte).collect()
}

/// Days since 1970-01-01, from an ISO 8601 date, or a timestamp that is midnight.
pub fn date(json: &Scalar) -> Option<i32> {
    let text = json.text()?;
    let text = text.trim();
    let date = match text.len() {
        10 => iso_date(text)?,
        _ => {
            let time = naive_time(text)?;
            (time.time() == NaiveTime::MIN).then(|| time.date())?
        }
    };
    YEARS.contains(&date.year()).then(|| date.num_days_from_ce() - EPOCH_DAY)
}

/// Microseconds since 1970-01-01 UTC: from epoch seconds, or from ISO 8601, which is UTC where it names no offset.
pub fn timestamp(json: &Scalar) -> Option<i64> {
    let micros = match numeral(json) {
        Some(seconds) => {
            let micros = seconds.parse::<f64>().ok()? * 1e6;
            (micros.abs() < 9e18).then(|| micros.round() as i64)?
        }
        None => {
            let text = json.text()?;
            let text = text.trim();
            match DateTime::parse_from_rfc3339(text) {
                Ok(time) => time.timestamp_micros(),
                Err(_) if text.len() == 10 => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                    .ok()?
                    .and_time(NaiveTime::MIN)
                    .and_utc()
                    .timestamp_micros(),
                Err(_) => naive_time(text)?.and_utc().timestamp_micros(),
            }
        }
    };
    MICROS.contains(&micros).then_some(micros)
}

/// `YYYY-MM-DD`. Written out because every label has one: chrono's format strings take ten times as long.
fn iso_date(text: &str) -> Option<NaiveDate> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else { return None };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    };
    NaiveDate::from_ymd_opt(number(&[y1, y2, y3, y4])?.cast_signed(), number(&[m1, m2])?, number(&[d1, d2])?)
}

fn naive_time(text: &str) -> Option<NaiveDateTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Cursor;
    use super::*;

    fn json(text: &str) -> Scalar<'_> {
        Cursor::new(text).scalar().unwrap()
    }

    #[test]
    fn dates() {
        assert_eq!(date(&json(r#""1970-01-02""#)), Some(1));
        assert_eq!(date(&json(r#""2021-05-02T00:00:00Z""#)), Some(18_749));
        for wrong in
            [r#""2021-02-30""#, r#""02/05/2021""#, r#""2021-05-02T10:30:00""#, "20210502", r#""2021-5-2""#, "null"]
        {
            assert_eq!(date(&json(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(&json("1626971804.163436")), Some(1_626_971_804_163_436));
        assert_eq!(timestamp(&json(r#""2021-07-22T16:36:44+02:00""#)), Some(1_626_964_604_000_000));
        assert_eq!(timestamp(&json(r#""2021-07-22 16:36:44""#)), Some(1_626_971_804_000_000));
        assert_eq!(timestamp(&json("1626971804163")), None, "milliseconds are the year 53526");
        assert_eq!(timestamp(&json("1e300")), None);
        assert_eq!(timestamp(&json(r#""yesterday""#)), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(integer(&json("12.0")), Some(12));
        assert_eq!(integer(&json("12.5")), None);
        assert_eq!(integer(&json("9223372036854775807")), Some(i64::MAX));
        assert_eq!(integer(&json("9223372036854775808")), None);
        assert_eq!(integer(&json(r#"" 7 ""#)), Some(7));
        assert_eq!(double(&json(r#""NaN""#)), None);
        assert_eq!(float(&json("1.1")), Some(1.1_f32));
        assert_eq!(boolean(&json(r#""FALSE""#)), Some(false));
        assert_eq!(boolean(&json("1")), None);
        assert_eq!(string(&json(r#""a\u00e7""#)).as_deref(), Some("aç"));
    }

    #[test]
    fn decimals_keep_every_digit_or_do_not_fit() {
        for (text, number) in [
            ("12.5", Some(1250)),
            ("-0.01", Some(-1)),
            ("99999.99", Some(9_999_999)),
            ("1.500", Some(150)),
            ("100000", None),
            ("1.005", None),
            ("1e2", None),
            (r#""NaN""#, None),
            (r#""-""#, None),
            (r#"".""#, None),
            (r#""""#, None),
        ] {
            assert_eq!(decimal(&json(text), 7, 2), number, "{text}");
        }
        let most = "9".repeat(38);
        assert_eq!(decimal(&json(&most), 38, 0), most.parse().ok());
        assert_eq!(decimal(&json(&format!("1{}", "0".repeat(60))), 38, 0), None);
    }

    #[test]
    fn bytes() {
        assert_eq!(binary(&json(r#""\\x00fFa0""#)), Some(vec![0, 255, 160]));
        assert_eq!(binary(&json(r#""\\x""#)), Some(vec![]));
        for wrong in [r#""00""#, r#""\\x0""#, r#""\\xzz""#, "7"] {
            assert_eq!(binary(&json(wrong)), None, "{wrong}");
        }
    }
}
