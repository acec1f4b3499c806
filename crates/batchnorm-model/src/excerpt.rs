//! Names of strangers, which may be of any length, where they go into messages, tables and lists.

use std::fmt;

/// The longest name that is kept whole, in bytes.
const LONGEST: usize = 400;
/// What is kept of a longer one: its beginning and its end, in characters.
const KEPT: [usize; 2] = [200, 100];

/// A name, or the beginning and the end of a long one.
pub(crate) fn excerpt(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let [begin, end] = KEPT;
    let last: Vec<char> = text.chars().rev().take(end).collect();
    text.chars().take(begin).chain(['…']).chain(last.into_iter().rev()).collect()
}

/// The beginning of a message of another library, which may have a name of any length in it.
#[cfg(any(feature = "pth", feature = "engine"))]
pub(crate) fn beginning(message: impl fmt::Display) -> String {
    use std::fmt::Write;

    struct Limited(String);
    impl Write for Limited {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let left = LONGEST.saturating_sub(self.0.len());
            self.0.extend(text.chars().take(left));
            if text.len() > left { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut limited = Limited(String::new());
    // (The error is the limit.)
    match write!(limited, "{message}") {
        Ok(()) => limited.0,
        Err(_) => limited.0 + "…",
    }
}

/// The beginning of a list, and how many there are.
pub(crate) fn beginning_of<T: fmt::Debug>(list: &[T]) -> String {
    match list.len() {
        ..=8 => format!("{list:?}"),
        count => format!("{:?} and {} more", &list[..8], count - 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(excerpt("bn1"), "bn1");
        let long = excerpt(&format!("begin{}end", "ä".repeat(100_000)));
        assert!(long.starts_with("begin") && long.ends_with("end") && long.chars().count() == 301, "{long}");
        assert_eq!(beginning_of(&[1, 2]), "[1, 2]");
        assert_eq!(beginning_of(&[7; 10]), "[7, 7, 7, 7, 7, 7, 7, 7] and 2 more");
    }

    #[cfg(any(feature = "pth", feature = "engine"))]
    #[test]
    fn long_messages_end() {
        assert_eq!(beginning("short"), "short");
        assert!(beginning(format_args!("{:?}", "x".repeat(1000))).len() < 410);
    }
}
