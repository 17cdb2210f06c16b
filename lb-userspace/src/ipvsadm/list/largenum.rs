//! Large numbers in nine columns.

/// A counter: in full while it has at most eight digits, then in thousands (K), millions (M), ... ; with `exact` in full, however wide.
pub(super) fn largenum(number: u64, is_exact: bool) -> String {
    if is_exact {
        let digits = number.to_string();
        return format!("{digits:>width$}", width = (digits.len() + 1).max(9));
    }
    match number {
        0..100_000_000 => format!("{number:9}"),
        100_000_000..1_000_000_000 => format!("{:8}K", number / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:8}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:8}G", number / 1_000_000_000),
        100_000_000_000_000.. => format!("{:8}T", number / 1_000_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_at_its_first_and_last_number() {
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(largenum(number, false), text);
        }
    }

    #[test]
    fn exact_numbers_keep_a_blank_before_them() {
        assert_eq!(largenum(5, true), "        5");
        assert_eq!(largenum(99_999_999, true), " 99999999");
        assert_eq!(largenum(u64::MAX, true), " 18446744073709551615");
    }
}
