//! Names and paths, which may hold any bytes, as text.

use std::path::Path;

/// A path as JSON text: bytes that are not UTF-8 are replaced, for serde_json refuses them.
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// An object as JSON text, in which characters that steer a terminal are escaped: JSON itself asks that of those below 0x20 alone.
#[cfg(feature = "model")]
pub fn json(object: &serde_json::Value) -> String {
    let text = format!("{object:#}\n");
    let steers = |c: char| (c.is_control() && c != '\n') || turns(c);
    if !text.contains(steers) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match steers(c) {
            // (Each of them is one unit of UTF-16.)
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
        out
    })
}

/// A number as JSON; a text where it has none for it.
#[cfg(feature = "model")]
pub fn number(number: f64) -> serde_json::Value {
    use serde_json::json;

    if number.is_finite() {
        json!(number)
    } else if number.is_nan() {
        json!("NaN")
    } else {
        json!(if number > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

/// Tells whether a character turns the direction of what stands beside it.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text on one line: control characters are escaped, and so are those that turn the direction of what stands beside them.
pub fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() || turns(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A path as one word of a shell's command line, in quotes where it needs them.
#[cfg_attr(not(any(feature = "train", feature = "model")), allow(dead_code))]
pub fn word(path: &Path) -> String {
    let text = one_line(&path.to_string_lossy());
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:=@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A path as an argument of a command, which does not look like a flag.
#[cfg(feature = "model")]
pub fn operand(path: &Path) -> String {
    if path.to_string_lossy().starts_with('-') { word(&Path::new(".").join(path)) } else { word(path) }
}

/// Names of a model's layers, as tables have them.
#[cfg(feature = "model")]
pub mod of_layers {
    use super::one_line;

    /// Parts of a path that say how weights were kept, not which layer they are of.
    const WRAPPINGS: &[&str] = &["module.", "model.", "ema.", "state_dict.", "model_state_dict."];
    /// Longest name in a table of layers.
    const LONGEST: usize = 40;

    /// Names of layers with what is said of each: everything that is said once, with all names. Ends at more different ones than `most`.
    pub fn grouped<'n>(said: impl Iterator<Item = (&'n str, String)>, most: usize) -> Vec<(String, Vec<&'n str>)> {
        let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, words) in said {
            let words = one_line(&words);
            match groups.iter_mut().find(|(other, _)| *other == words) {
                Some((_, names)) => names.push(name),
                None => groups.push((words, vec![name])),
            }
            if groups.len() > most {
                break;
            }
        }
        groups
    }

    /// What is said of layers, under a heading: each reason with the names of those that it is of. Nothing of none.
    pub fn reasons<'n>(heading: &str, said: impl Iterator<Item = (&'n str, String)>) -> String {
        let groups = grouped(said, usize::MAX);
        let mut text = if groups.is_empty() { String::new() } else { format!("\n{heading}:\n") };
        for (reason, names) in groups {
            let names: Vec<String> = names.into_iter().map(short_name).collect();
            text += &format!("  {}: {reason}\n", names.join(", "));
        }
        text
    }

    /// A layer's name as a table has it: without what it was wrapped in, cut in the middle.
    pub fn short_name(name: &str) -> String {
        let mut bare = name;
        while let Some(rest) = WRAPPINGS.iter().find_map(|wrapping| bare.strip_prefix(wrapping)) {
            bare = rest;
        }
        cut(bare)
    }

    /// Text on one line, the middle of which is left out where it is long.
    pub fn cut(text: &str) -> String {
        let line: Vec<char> = one_line(text).chars().collect();
        if line.len() <= LONGEST {
            return line.into_iter().collect();
        }
        let half = (LONGEST - 1) / 2;
        line[..half].iter().chain(&['…']).chain(&line[line.len() - half..]).collect()
    }
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

    #[cfg(feature = "model")]
    #[test]
    fn names_are_short_and_harmless() {
        assert_eq!(of_layers::short_name("module.model.layer1.bn1"), "layer1.bn1");
        assert_eq!(of_layers::short_name("model"), "model");
        let long = of_layers::short_name(&"abcdefgh".repeat(9));
        assert_eq!((long.chars().count(), long.contains('…')), (39, true));
        assert_eq!(of_layers::short_name("a\u{1b}[31mb"), r"a\u{1b}[31mb");
    }
}
