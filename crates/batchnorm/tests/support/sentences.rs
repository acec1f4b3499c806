//! Sentences that were read: a file of them that a test compares with, and whether it has a text of the sources.

#![allow(dead_code)] // every test file uses a part

/// The file at `path`, which must be `table`, line by line; written anew where the environment says `variable=write`.
pub fn as_read(path: &str, table: &str, variable: &str) -> String {
    if std::env::var_os(variable).is_some_and(|value| value == "write") {
        std::fs::write(path, table).expect("a writable folder");
    }
    let golden = std::fs::read_to_string(path).expect("the file of what was read");
    for (line, (got, expected)) in table.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, expected, "line {}", line + 1);
    }
    assert_eq!(table.lines().count(), golden.lines().count());
    golden
}

/// Whether some line is this text of a format, with anything in the places that it leaves open.
pub fn holds(lines: &str, text: &str) -> bool {
    let (mut fixed, mut depth) = (vec![String::new()], 0);
    for letter in text.chars() {
        match letter {
            '{' => {
                depth += 1;
                fixed.push(String::new());
            }
            '}' => depth -= 1,
            _ if depth == 0 => fixed.last_mut().expect("one").push(letter),
            _ => {}
        }
    }
    lines.lines().any(|line| {
        let mut rest = line;
        fixed.iter().all(|part| match rest.split_once(part.as_str()) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    })
}
