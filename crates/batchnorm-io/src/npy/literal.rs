//! The little of Python's grammar that a `.npy` header is written in.
//!
//! ```text
//! dictionary = '{' [ entry { ',' entry } [ ',' ] ] '}'
//! entry      = string ':' value
//! string     = "'" characters "'"  |  '"' characters '"'       without backslashes
//! value      = source text up to the ',' or '}' that is in no string and no bracket
//! ```
//!
//! A value is handed on as source text: what it must be depends on its key, and a value refused is
//! shown to the user as it was written. Nothing here recurses, so no nesting exhausts the stack.

use super::defect::{Defect, excerpt};

/// Hands each key and value of the dictionary that is the whole of `text` to `entry`, in their order,
/// until it errs. Collects nothing: a hostile header may have a million entries.
pub(super) fn dictionary<'a>(
    text: &'a str,
    mut entry: impl FnMut(&'a str, &'a str) -> Result<(), Defect>,
) -> Result<(), Defect> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.expect('{', "'{'")?;
    while cursor.peek() != Some('}') {
        let key = cursor.string()?;
        cursor.expect(':', "':'")?;
        entry(key, cursor.value()?)?;
        if cursor.peek() == Some(',') {
            cursor.at += 1;
        } else if cursor.peek() != Some('}') {
            return Err(cursor.unexpected("',' or '}'"));
        }
    }
    cursor.expect('}', "'}'")?;
    match cursor.peek() {
        None => Ok(()),
        Some(_) => Err(cursor.unexpected("nothing but blanks after the dictionary")),
    }
}

/// The lengths in a tuple of non-negative integers, or `None` if `value` is anything else.
///
/// `(3,)` is a tuple, `(3)` is the number 3. Python 2 wrote `3L`. A leading zero is refused: it means
/// octal to Python 2 and nothing to Python 3.
pub(super) fn tuple_of_lengths(value: &str) -> Option<Vec<usize>> {
    let inner = value.strip_prefix('(')?.strip_suffix(')')?.trim_matches(blank);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let (items, trailing_comma) = match inner.strip_suffix(',') {
        Some(items) => (items, true),
        None => (inner, false),
    };
    if !items.contains(',') && !trailing_comma {
        return None;
    }
    items.split(',').map(length).collect()
}

fn length(item: &str) -> Option<usize> {
    let item = item.trim_matches(blank);
    let digits = item.strip_suffix('L').unwrap_or(item);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    // `parse` alone would take "+3".
    if leading_zero || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The characters of a string literal that is the whole of `value`, or `None` if it is not one.
pub(super) fn whole_string(value: &str) -> Option<&str> {
    let mut cursor = Cursor { text: value, at: 0 };
    let characters = cursor.string().ok()?;
    (cursor.at == value.len()).then_some(characters)
}

/// What Python skips between tokens inside brackets.
fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next character that is not blank; the cursor then stands on it.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(blank).len();
        self.text[self.at..].chars().next()
    }

    fn expect(&mut self, wanted: char, name: &'static str) -> Result<(), Defect> {
        if self.peek() != Some(wanted) {
            return Err(self.unexpected(name));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    fn string(&mut self) -> Result<&'a str, Defect> {
        let quote = match self.peek() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => return Err(self.unexpected("a string in quotes")),
        };
        let start = self.at + 1;
        match self.text[start..].find([quote, '\\', '\n']) {
            Some(length) if self.text[start + length..].starts_with(quote) => {
                self.at = start + length + 1;
                Ok(&self.text[start..start + length])
            }
            Some(length) => {
                self.at = start + length;
                Err(self.unexpected("a string without backslashes, closed on its line"))
            }
            None => {
                self.at = self.text.len();
                Err(self.unexpected("the closing quote of a string"))
            }
        }
    }

    fn value(&mut self) -> Result<&'a str, Defect> {
        self.peek();
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek() {
                None => return Err(self.unexpected("',' or '}'")),
                Some('\'' | '"') => {
                    self.string()?;
                    continue;
                }
                Some(',' | '}' | ')' | ']') if depth == 0 => break,
                Some('(' | '[' | '{') => depth += 1,
                Some(')' | ']' | '}') => depth -= 1,
                Some(_) => {}
            }
            self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        }
        let value = self.text[start..self.at].trim_matches(blank);
        if value.is_empty() {
            return Err(self.unexpected("a value"));
        }
        Ok(value)
    }

    fn unexpected(&self, expected: &'static str) -> Defect {
        let rest = self.text[self.at..].trim_end_matches(blank);
        let found = match rest {
            "" => "the end of the header".to_string(),
            _ => format!("`{}`", excerpt(rest)),
        };
        Defect::Syntax { at: self.at, expected, found }
    }
}
