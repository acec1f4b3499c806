//! Numbers as people read them. `page/figure.js` is the same in the page, to the digit.

/// Formats a number to so many significant digits, without zeros at the end: `2`, `-0.31623`, `1.2346e5`.
pub fn figure(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return String::from("not a number");
    }
    if value.is_infinite() {
        return String::from(if value > 0.0 { "infinity" } else { "-infinity" });
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let (mantissa, exponent) = rounded(value.abs(), digits);
    let digits = digits as i32;
    let text = match exponent {
        -4..0 => format!("0.{}{mantissa}", "0".repeat((-1 - exponent) as usize)),
        _ if (0..digits).contains(&exponent) => {
            let (whole, rest) = mantissa.split_at(exponent as usize + 1);
            format!("{whole}.{rest}")
        }
        _ => format!("{}.{}", &mantissa[..1], &mantissa[1..]),
    };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let power = if (-4..digits).contains(&exponent) { String::new() } else { format!("e{exponent}") };
    match text {
        "" | "0" => String::from("0"),
        _ => format!("{sign}{text}{power}"),
    }
}

/// Significant digits, and the exponent of the first. Halves go away from 0, as in JavaScript's `toExponential`; Rust's
/// `{:e}` takes them to the even digit.
fn rounded(size: f64, digits: usize) -> (String, i32) {
    let mut text = format!("{size:.*e}", digits - 1);
    if is_half(size, digits) {
        // Nudged up: the next number is nearer to the upper digit, and no digit before the half differs.
        text = format!("{:.*e}", digits - 1, size.next_up());
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Whether a number lies exactly between two numbers of so many digits.
fn is_half(size: f64, digits: usize) -> bool {
    // The shortest text that gives the number back has one digit more, a 5, in all such cases; what is exact is in the long one.
    let shortest = format!("{size:e}");
    let mantissa = shortest.split('e').next().unwrap_or_default();
    let one_more = mantissa.bytes().filter(u8::is_ascii_digit).count() == digits + 1 && mantissa.ends_with('5');
    one_more && format!("{size:.800e}").split('e').next().is_some_and(|exact| exact.trim_end_matches('0') == mantissa)
}

/// Formats a number for a page: with the typographic minus.
pub fn on_page(value: f64, digits: usize) -> String {
    figure(value, digits).replace('-', "\u{2212}")
}

/// Significant digits of most numbers.
pub const DIGITS: usize = 5;

/// Significant digits that show how values differ, where what they have in common is much larger than that.
pub fn digits_of(values: &[f64]) -> usize {
    let (least, largest) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &value| (least.min(value), most.max(value)));
    let (size, spread) = (least.abs().max(largest.abs()), largest - least);
    if !(spread > 0.0 && size.is_finite()) {
        return DIGITS;
    }
    (DIGITS + (size / spread).log10().max(0.0) as usize).min(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_right() {
        for (value, digits, expected) in [
            (0.0, 5, "0"),
            (-0.0, 5, "0"),
            (2.0, 5, "2"),
            (-0.316_227_76, 5, "-0.31623"),
            (123_456.0, 5, "1.2346e5"),
            (12_345.0, 5, "12345"),
            (99_999.7, 5, "1e5"),
            (0.999_999, 5, "1"),
            (1e-4, 5, "0.0001"),
            (0.000_099_999_99, 5, "0.0001"),
            (1.25e-5, 5, "1.25e-5"),
            (-1e-300, 5, "-1e-300"),
            (10_000.312_5, 9, "10000.3125"),
            // Halves: exactly between, and only nearly so.
            (0.5, 1, "0.5"),
            (2.5, 1, "3"),
            (0.25, 1, "0.3"),
            (-0.125, 2, "-0.13"),
            (0.007_812_5, 4, "0.007813"),
            (0.35, 1, "0.3"),
            (1.005, 3, "1"),
            (9.5, 1, "1e1"),
            (f64::NAN, 5, "not a number"),
            (f64::NEG_INFINITY, 5, "-infinity"),
            (5e-324, 5, "4.9407e-324"),
            (f64::MAX, 5, "1.7977e308"),
        ] {
            assert_eq!(figure(value, digits), expected, "{value:?} to {digits}");
        }
        assert_eq!(on_page(-1.25e-5, 5), "\u{2212}1.25e\u{2212}5");
        assert_eq!([digits_of(&[1.0, 2.0]), digits_of(&[10_000.0, 10_001.0]), digits_of(&[3.0, 3.0])], [5, 9, 5]);
    }
}
