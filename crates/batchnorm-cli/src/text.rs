//! Names and paths, which may hold any bytes, as text.

use std::path::Path;

/// A path as JSON text: bytes that are not UTF-8 are replaced, for serde_json refuses them.
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Text on one line: control characters are escaped, and so are those that turn the direction of what stands beside them.
pub fn one_line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().flat_map(|c| if c.is_control() || turns(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A path as one word of a shell's command line, in quotes where it needs them.
#[cfg_attr(not(any(feature = "train", feature = "model")), allow(dead_code))]
pub fn word(path: &Path) -> String {
    let text = one_line(&path.to_string_lossy());
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:=@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        for (path, expected) in [
            ("out/model-1.safetensors", "out/model-1.safetensors"),
            ("my model", "'my model'"),
            ("it's", r"'it'\''s'"),
            ("$HOME;rm", "'$HOME;rm'"),
            ("a\u{1b}[2J", r"'a\u{1b}[2J'"),
            ("a\u{202e}b", r"'a\u{202e}b'"),
            ("", "''"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
