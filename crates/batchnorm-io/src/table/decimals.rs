//! Numbers as text: with a decimal point, or a decimal comma, and maybe the other sign between groups of three digits.

/// The sign in front of the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decimal {
    Point,
    Comma,
}

/// What a table's cells say of the sign in front of the decimals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Decimals {
    /// Some cell has a point there for certain.
    point: bool,
    /// Some cell has a comma there for certain.
    comma: bool,
    /// Some cell may be either: `1,234`.
    either: bool,
}

impl Decimals {
    /// Takes a cell in.
    pub fn see(&mut self, cell: &str) {
        match (number(cell, Decimal::Point), number(cell, Decimal::Comma)) {
            (Some(a), Some(b)) if a == b || a.is_nan() => {}
            (Some(_), Some(_)) => self.either |= cell.contains(','),
            (Some(_), None) => self.point = true,
            (None, Some(_)) => self.comma = true,
            (None, None) => {}
        }
    }

    /// Takes in what other cells say.
    pub fn join(&mut self, other: Decimals) {
        self.point |= other.point;
        self.comma |= other.comma;
        self.either |= other.either;
    }

    /// The sign, or `None` where no cell tells it and some cell hangs on it.
    pub fn told(self) -> Option<Decimal> {
        match self {
            Decimals { comma: true, point: false, .. } => Some(Decimal::Comma),
            Decimals { comma: false, point: false, either: true } => None,
            // Where both are told, the cells with a comma are refused one by one.
            _ => Some(Decimal::Point),
        }
    }
}

/// The number that a cell is: as Rust and Python write it, with `decimal` in front of its decimals, and groups of three digits
/// parted by the other sign or not at all.
pub(super) fn number(cell: &str, decimal: Decimal) -> Option<f64> {
    // As data frames and R write what is true and what is not.
    match cell {
        "True" | "TRUE" | "true" => return Some(1.0),
        "False" | "FALSE" | "false" => return Some(0.0),
        _ => {}
    }
    let (decimal, group) = match decimal {
        Decimal::Point => ('.', ','),
        Decimal::Comma => (',', '.'),
    };
    if decimal == '.' && !cell.contains(group) {
        return cell.parse().ok();
    }
    let (whole, decimals) = match cell.split_once(decimal) {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (cell, None),
    };
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    if digits.contains(group) {
        let mut groups = digits.split(group);
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && is_digits(first));
        // (No number of thousands begins with 0.)
        if !first || digits.starts_with('0') || !groups.all(|group| group.len() == 3 && is_digits(group)) {
            return None;
        }
    }
    let joined = whole.replace(group, "");
    match decimals {
        None => joined.parse().ok(),
        Some(decimals) if decimals.contains(['.', ',']) => None,
        Some(decimals) => format!("{joined}.{decimals}").parse().ok(),
    }
}

/// Whether a number is written with decimals or an exponent, as those of a column of float numbers are, or is none, as `nan`.
pub(super) fn shows_decimals(cell: &str) -> bool {
    cell.contains(['.', ',', 'e', 'E']) || cell.parse::<f64>().is_ok_and(|value| !value.is_finite())
}

/// A whole number >= 0 in digits alone.
pub(super) fn counter(cell: &str) -> Option<u64> {
    cell.bytes().all(|byte| byte.is_ascii_digit()).then(|| cell.parse().ok()).flatten()
}

/// The number that a cell is, whatever stands in front of its decimals.
pub(super) fn value_of(cell: &str) -> Option<f64> {
    number(cell, Decimal::Point).or_else(|| number(cell, Decimal::Comma))
}

/// Whether a cell is a number in one of the ways of writing them.
pub(super) fn looks_like_number(cell: &str) -> bool {
    value_of(cell).is_some()
}

/// Whether a cell says that its number is missing.
pub(super) fn is_missing(cell: &str) -> bool {
    let words = ["na", "n/a", "#n/a", "<na>", "null", "none", "nil", "missing", "-", "--", "?", "."];
    words.contains(&cell.to_lowercase().as_str())
}
