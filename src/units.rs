//! Sizes and durations as people write them: `512MB`, `30s`.

use std::time::Duration;

/// `512MB`, `2GB`, `64KB` or a number of bytes; units are powers of 1024.
///
/// # Errors
/// What would be right.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = split(text);
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err("not a size; give for example 512MB or 2GB".to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| "not a size; give for example 512MB or 2GB".to_owned())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "not a size that fits".to_owned())
}

/// `500ms`, `30s`, `5m`, `2h`, `30d` or a number of seconds; a thousand years at most, for what is longer does not fit into
/// the calendar.
///
/// # Errors
/// What would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err("not a duration; give for example 30s, 5m or 30d".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a duration; give for example 30s or 5m".to_owned())?;
    let milliseconds = number.checked_mul(milliseconds).filter(|all| *all <= 366_000 * 24 * 3_600_000);
    milliseconds.map(Duration::from_millis).ok_or_else(|| "not a duration that fits".to_owned())
}

/// The number and its unit.
fn split(text: &str) -> (&str, &str) {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    (digits, &text[digits.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        assert_eq!(["1", "2kb", "3MiB", "4G"].map(|text| parse_size(text).unwrap()), [1, 2 << 10, 3 << 20, 4 << 30]);
        assert!(["", "0", "lots", "-1", "1.5GB", "1TB", "99999999999GB"].iter().all(|text| parse_size(text).is_err()));
    }

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        let seconds = ["500ms", "30", "30s", "5m", "2h", "0s"].map(|text| parse_duration(text).unwrap().as_secs_f64());
        assert_eq!(seconds, [0.5, 30.0, 30.0, 300.0, 7200.0, 0.0]);
        assert!(["", "soon", "-1s", "1w", "99999999999999999h"].iter().all(|text| parse_duration(text).is_err()));
    }
}
