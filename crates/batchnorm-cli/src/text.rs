//! Names and paths, which may hold anything, as text.

use std::path::Path;

/// As JSON has it: what is not UTF-8 is replaced. (serde_json refuses such paths.)
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// On one line, whatever is in it: control characters are escaped.
pub fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// As a word of a shell's command line; in quotes where it needs them.
#[cfg_attr(not(feature = "train"), allow(dead_code))]
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
            ("", "''"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
