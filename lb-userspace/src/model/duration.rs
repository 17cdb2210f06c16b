//! Durations as an operator writes them: `500ms`, `2s`, `1m`, `1h`. Whole numbers and one unit; no default unit,
//! because `timeout = 5` has been read as seconds and as milliseconds by different tools.

/// Units from the longest, with their milliseconds. Also the order in which [`text`] tries them.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration into milliseconds.
pub fn parse(text: &str) -> Result<u64, String> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    match (number.parse::<u64>(), scale) {
        (Ok(number), Some(scale)) => {
            number.checked_mul(scale).ok_or_else(|| format!("{text:?} is longer than any duration"))
        }
        _ => Err(format!("{text:?} is not a duration, such as 500ms, 2s or 1m")),
    }
}

/// Writes milliseconds in the longest unit that needs no fraction.
pub fn text(ms: u64) -> String {
    let (unit, scale) =
        UNITS.into_iter().find(|(_, scale)| ms >= *scale && ms.is_multiple_of(*scale)).unwrap_or(("ms", 1));
    format!("{}{unit}", ms / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_required_and_fractions_refused() {
        assert_eq!(parse("500ms"), Ok(500));
        assert_eq!(parse("90s"), Ok(90_000));
        for wrong in ["", "5", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "1d", "99999999999999999999s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("18446744073709551615h").unwrap_err().contains("longer than"));
    }

    #[test]
    fn the_longest_exact_unit_is_written() {
        assert_eq!([0, 999, 90_000, 120_000, 7_200_000].map(text), ["0ms", "999ms", "90s", "2m", "2h"]);
    }

    proptest! {
        #[test]
        fn every_duration_reads_back(ms: u64) {
            prop_assert_eq!(parse(&text(ms)), Ok(ms));
        }
    }
}
