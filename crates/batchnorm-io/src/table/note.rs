//! What a user should be told of how a table was read.

use crate::npy::defect::excerpt;

/// Something about the table that a user should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A column in front was left out, for it names or counts the rows.
    LeftOut {
        /// Its number, from 1 on.
        column: usize,
        /// Its header, as it stands.
        named: Option<String>,
        /// What it does.
        what: &'static str,
    },
    /// A column counts the rows, and was kept.
    CounterKept {
        /// Its number, from 1 on.
        column: usize,
        /// Its header.
        named: Option<String>,
    },
    /// A column has no header where the others have one, and was kept.
    NamelessKept {
        /// Its number, from 1 on.
        column: usize,
    },
    /// The last column is empty, for each line ends in what parts the cells; it was left out.
    EmptyLast,
    /// Lines of comments were left out.
    Comments {
        /// The first one.
        first: String,
        /// How many.
        lines: usize,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let headed = |column: &usize, named: &Option<String>| {
            let which = if *column == 1 { String::from("the first column") } else { format!("column {column}") };
            match named.as_deref() {
                None => format!("{which}, without a header,"),
                Some("") => format!("{which}, with an empty header,"),
                Some(named) => format!("{which}, `{}`,", excerpt(named)),
            }
        };
        match self {
            Note::LeftOut { column, named, what } => write!(f, "{} was left out: it {what}", headed(column, named)),
            Note::CounterKept { column, named } => {
                let named = headed(column, named);
                write!(f, "{named} was kept as a feature, though it counts the rows; take it out if it is none")
            }
            Note::NamelessKept { column } => {
                let named = headed(column, &Some(String::new()));
                write!(f, "{named} was kept as a feature; take it out if it is none")
            }
            Note::EmptyLast => {
                f.write_str("the last column was left out: it is empty, for each line ends in a separator")
            }
            Note::Comments { first, lines: 1 } => {
                write!(f, "the line `{}` was left out: it is a comment", excerpt(first))
            }
            Note::Comments { first, lines } => {
                write!(f, "{lines} lines were left out, the first is `{}`: they are comments", excerpt(first))
            }
        }
    }
}
