//! Dates as days since 1970-01-01, in the proleptic Gregorian calendar.

/// The day of `2020-01-31`; `None` when the text is no such date.
pub(super) fn parse(text: &str) -> Option<i64> {
    let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let days = days(year, month, day);
    let mut again = Vec::with_capacity(10);
    write(days, &mut again);
    (parts.next().is_none() && again == text.as_bytes()).then_some(days)
}

/// Appends the day as `2020-01-31`.
pub(super) fn write(days: i64, out: &mut Vec<u8>) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let digit = |n: i64| b'0' + n.rem_euclid(10) as u8;
    out.extend_from_slice(&[
        digit(year / 1000),
        digit(year / 100),
        digit(year / 10),
        digit(year),
        b'-',
        digit(month / 10),
        digit(month),
        b'-',
        digit(day / 10),
        digit(day),
    ]);
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is a year's last.
    let year = year.clamp(-9999, 9999) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month.clamp(1, 12) + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day.clamp(1, 31) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_back_and_impossible_ones_do_not() {
        for (text, expected) in [("1970-01-01", 0), ("2020-02-29", 18_321), ("2021-12-31", 18_992)] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in ["2021-02-29", "2021-2-3", "2021-13-01", "2021-00-10", "2021-01-01-01", "x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
