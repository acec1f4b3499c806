//! Flags of `train` as words, which other words of the same flags replace.

use std::fmt;

use serde::Deserialize;

/// Settings of `train` by shorter names.
const SHORTER: [(&str, &str); 1] = [("lr", "learning-rate")];

/// Flags of which one replaces the other.
const EITHER: [(&str, &str); 2] = [("epochs", "steps"), ("no-batch-norm", "norm")];
/// Flags of the network that a training starts from, where it starts from one.
const OF_SOURCE: [&str; 12] = [
    "network",
    "hidden",
    "convolutions",
    "activation",
    "norm",
    "no-batch-norm",
    "placement",
    "epsilon",
    "groups",
    "renorm",
    "ghost",
    "unscaled",
];

/// Flags of `train`, each a word: `--name=value` or `--name`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<String>")]
pub struct Words(Vec<String>);

impl Words {
    /// These words and others, which replace those of the same flag.
    pub fn changed_by(&self, others: &Words) -> Words {
        let kept = self.0.iter().filter(|word| !others.has(flag(word)));
        Words(kept.chain(&others.0).cloned().collect())
    }

    /// Tells whether a flag is among them.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|word| either(flag(word)) == either(name))
    }

    /// Those of the network, and the others: where a training starts from another one, the first are of that.
    pub fn of_source_and_others(self) -> (Words, Words) {
        let (of_source, others): (Vec<String>, Vec<String>) =
            self.0.into_iter().partition(|word| OF_SOURCE.contains(&flag(word)));
        (Words(of_source), Words(others))
    }

    /// The names of the flags.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|word| flag(word))
    }

    pub fn to_vec(&self) -> Vec<String> {
        self.0.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.join(" "))
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Words {
        words.into_iter().collect()
    }
}

/// Words of a command line: a value that stands behind its flag is joined to it.
impl<W: Into<String>> FromIterator<W> for Words {
    fn from_iter<I: IntoIterator<Item = W>>(words: I) -> Words {
        let mut joined: Vec<String> = Vec::new();
        for word in words.into_iter().map(Into::into) {
            match joined.last_mut() {
                Some(last) if last.starts_with("--") && !last.contains('=') && !word.starts_with("--") => {
                    *last = format!("{last}={word}");
                }
                _ => joined.push(word),
            }
        }
        Words(joined)
    }
}

/// The name of a word's flag; of what is none, the word.
fn flag(word: &str) -> &str {
    let name = word.strip_prefix("--").unwrap_or(word);
    name.split_once('=').map_or(name, |(name, _)| name)
}

/// The flag that stands for those of which one replaces the other.
fn either(name: &str) -> &str {
    EITHER.iter().find(|(one, _)| *one == name).map_or(name, |(_, other)| other)
}

/// Tells whether two flags set the same.
pub fn same_setting(one: &str, other: &str) -> bool {
    either(one) == either(other)
}

/// The setting of `--vary SETTING=VALUE,...` by its whole name.
pub fn setting(vary: &str) -> &str {
    whole(vary.split_once('=').map_or(vary, |(setting, _)| setting))
}

/// The whole name of a setting.
pub fn whole(setting: &str) -> &str {
    SHORTER.iter().find(|(short, _)| *short == setting).map_or(setting, |(_, long)| long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_behind_flags_are_joined_and_later_words_replace() {
        let words: Words = ["--data", "mnist", "--unscaled", "--epochs=3"].into_iter().collect();
        assert_eq!(words.to_vec(), ["--data=mnist", "--unscaled", "--epochs=3"]);
        let others: Words = ["--data=digits", "--seed=1"].into_iter().collect();
        assert_eq!(words.changed_by(&others).to_vec(), ["--unscaled", "--epochs=3", "--data=digits", "--seed=1"]);
        let steps: Words = ["--steps=40"].into_iter().collect();
        assert_eq!(words.changed_by(&steps).to_vec(), ["--data=mnist", "--unscaled", "--steps=40"]);
        assert_eq!((setting("lr=1,2"), setting("norm")), ("learning-rate", "norm"));
    }
}
