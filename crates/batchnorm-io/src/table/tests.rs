use super::*;

fn table(text: &str) -> Table {
    parse(text.as_bytes(), 1000, Header::Told).unwrap_or_else(|defect| panic!("{text:?}: {defect}"))
}

fn refused(text: &str) -> String {
    parse(text.as_bytes(), 1000, Header::Told).expect_err(text).to_string()
}

#[test]
fn what_does_not_matter_changes_nothing() {
    let plain = table("1,2\n3,4\n");
    assert_eq!((plain.rows, plain.columns, &plain.values[..]), (2, 2, &[1.0, 2.0, 3.0, 4.0][..]));
    for text in [
        "1,2\n3,4",
        "1,2\r\n3,4\r\n",
        "1,2\r3,4\r",
        "\u{feff}1,2\n3,4\n",
        "\n\n 1 ,\t2\n\n3, 4 \n  \n",
        "\"1\",\"2\"\n\"3\",\"4\"\n",
        "1;2\n3;4\n",
        "1\t2\n3\t4\n",
        "1 2\n3 4\n",
        "  1   2 \n  3\t 4\n",
        "sep=;\r\n1;2\r\n3;4\r\n",
        "1,0;2,0\n3,0;4,0\n",
        "1,0\t2,0\n3,0\t4,0\n",
        "1,0 2,0\n3,0 4,0\n",
        "\"1,0\",\"2,0\"\n\"3,0\",\"4,0\"\n",
    ] {
        assert_eq!(table(text), plain, "{text:?}");
    }
    for mark in [true, false] {
        let bytes: Vec<u8> = "\u{feff}1;2\r\n3;4\r\n"
            .encode_utf16()
            .flat_map(|unit| if mark { unit.to_le_bytes() } else { unit.to_be_bytes() })
            .collect();
        assert_eq!(parse(&bytes, 10, Header::Told).expect("UTF-16"), plain);
        let message = parse(&bytes[..bytes.len() - 1], 10, Header::Told).unwrap_err().to_string();
        assert!(message.contains("UTF-16"), "{message}");
    }
    let named = table("\u{feff}\"a, \"\"b\"\"\", c\n1,2\n3,4\n");
    assert_eq!(named.names, Some(vec!["a, \"b\"".into(), "c".into()]));
    assert_eq!(named.values, plain.values);
    assert_eq!(table("x\n1\n").columns, 1);
    let extremes = table("nan,-inf,1e-400,+5,.5,5.\n").values;
    assert!(extremes[0].is_nan() && extremes[1..] == [f64::NEG_INFINITY, 0.0, 5.0, 0.5, 5.0]);
    // Longer than any buffer on the way.
    let long = format!("{}\n{}\n", "n".repeat(5000), "0".repeat(3000) + "7");
    assert_eq!(table(&long).values, [7.0]);
}

#[test]
fn decimal_commas_and_thousands_are_read_where_the_table_tells_them() {
    for (text, values) in [
        ("1,5;2\n-3,25;4e2\n", [1.5, 2.0, -3.25, 400.0]),
        ("1.234,5;2\n1.234;3\n", [1234.5, 2.0, 1234.0, 3.0]),
        ("\"1,234.5\",2\n\"1,234\",3\n", [1234.5, 2.0, 1234.0, 3.0]),
        ("1,234,567;2\n1,234;3.5\n", [1234567.0, 2.0, 1234.0, 3.5]),
        ("x;y\n0,5;1,234\n2;3\n", [0.5, 1.234, 2.0, 3.0]),
    ] {
        assert_eq!(table(text).values, values, "{text:?}");
    }
    for (text, says) in [
        (
            "1,234;2\n5,678;3\n",
            "line 1, column 1: expected a number, got `1,234`; its comma may stand in front of decimals",
        ),
        ("1,5;2.5\n1;2\n", "got `1,5`; other cells have a point where this one has a comma"),
        ("1'234,2\n3,4\n", "got `1'234`; write thousands together"),
        ("\"1 234\",2\n3,4\n", "got `1 234`; part values by"),
    ] {
        let message = refused(text);
        assert!(message.contains(says), "{text:?}: {message}");
    }
}

#[test]
fn names_are_recognised_though_they_are_numbers_or_the_table_is_refused() {
    let names = |text: &str| table(text).names.map(|names| names.join("|"));
    for (text, expected) in [
        // Of floats each number has its decimals, but for the names.
        ("0,1,2\n0.5,1.0,2.5\n3.0,4.0,5.0\n", "0|1|2"),
        ("2019,2020\n0.5,1.0\n3.0,4.0\n", "2019|2020"),
        ("\"0\",\"1\"\n5,6\n7,8\n", "0|1"),
        ("'x',\"y\"\n5,6\n", "'x'|y"),
        ("id,0,1\n7,5,6\n9,8,3\n", "id|0|1"),
        ("2019,2020,total\n5,6,11\n7,8,15\n", "2019|2020|total"),
        ("0;1;2\n0,5;1,0;2,5\n3,0;4,0;5,0\n", "0|1|2"),
        ("3,7\n", ""),
        ("3,7\n1.5,2.5\n0.5,0.25\n", ""),
        ("1,2\n3,4\n", ""),
        ("1,2\n3.5,4\n", ""),
        ("0.0,1.0\n0.5,2.5\n", ""),
        ("-1,0\n0.5,2.5\n", ""),
    ] {
        assert_eq!(names(text).unwrap_or_default(), expected, "{text:?}");
    }
    for (text, rows) in [
        ("0,1,2\n4,5,6\n", 1),
        ("0,1,2\n0.5,1.5,2.5\n", 1),
        ("0\n0.5\n1.5\n", 2),
        ("0\n1\n1\n", 2),
        ("2019,2020\n5,6\n7,8\n", 2),
        ("1,2,3\n0.5,1.5,2.5\n0.1,0.2,0.3\n", 2),
    ] {
        let message = refused(text);
        let first = text.lines().next().expect("a line");
        assert!(message.starts_with(&format!("line 1: `{first}` may name the columns")), "{text:?}: {message}");
        assert!(message.contains("`--header yes` or `--header no`"), "{message}");
        for (header, expected) in [(Header::Yes, rows), (Header::No, rows + 1)] {
            let table = parse(text.as_bytes(), 100, header).expect("told");
            assert_eq!((table.rows, table.names.is_some()), (expected, header == Header::Yes), "{text:?}");
        }
    }
}

#[test]
fn names_and_numbers_of_rows_are_no_feature_and_other_counters_are_said() {
    for (text, values, note) in [
        (
            ",a,b\n0,1.5,2.5\n1,3.5,4.5\n",
            [1.5, 2.5, 3.5, 4.5],
            "with an empty header, was left out: it counts the rows",
        ),
        (",0,1\n0,5,6\n1,7,8\n", [5.0, 6.0, 7.0, 8.0], "with an empty header, was left out: it counts the rows"),
        ("Unnamed: 0,a,b\n0,5,6\n1,7,8\n", [5.0, 6.0, 7.0, 8.0], "`Unnamed: 0`, was left out: it counts the rows"),
        (
            "\"rownames\",\"a\",\"b\"\n\"1\",5,6\n\"2\",7,8\n",
            [5.0, 6.0, 7.0, 8.0],
            "`rownames`, was left out: it counts",
        ),
        (
            "\"a\",\"b\"\n\"1\",5,6\n\"2\",7,8\n",
            [5.0, 6.0, 7.0, 8.0],
            "without a header, was left out: it counts the rows",
        ),
        (
            "\"a\" \"b\"\n\"1\" 5 6\n\"2\" 7 8\n",
            [5.0, 6.0, 7.0, 8.0],
            "without a header, was left out: it counts the rows",
        ),
        (
            "\"\",\"a\",\"b\"\n\"Mazda RX4\",5,6\n\"Fiat 128\",7,8\n",
            [5.0, 6.0, 7.0, 8.0],
            "was left out: it holds names",
        ),
        (",a,b\n17,5,6\n3,7,8\n", [5.0, 6.0, 7.0, 8.0], "was left out: it numbers the rows"),
    ] {
        let table = table(text);
        assert_eq!((table.columns, &table.values[..]), (2, &values[..]), "{text:?}");
        assert_eq!(table.names.as_ref().map(Vec::len), Some(2), "{text:?}");
        let notes: Vec<String> = table.notes.iter().map(ToString::to_string).collect();
        assert!(notes.len() == 1 && notes[0].contains(note), "{text:?}: {notes:?}");
    }
    for (text, columns) in [("id,a\n0,5\n1,7\n2,8\n", 2), ("1,5\n2,7\n3,9\n", 2), ("t,a\n1,5\n2,7\n3,8\n", 2)] {
        let table = table(text);
        assert_eq!(table.columns, columns, "{text:?}");
        assert!(table.notes[0].to_string().contains("was kept as a feature, though it counts the rows"), "{text:?}");
    }
    for text in ["a,b\n5,6\n7,8\n", "x\n0\n1\n2\n", "id,a\n7,5\n9,7\n8,8\n", "1,5\n2,7\n"] {
        assert_eq!(table(text).notes, [], "{text:?}");
    }
    let message = refused(",\"\"\n");
    assert!(message.contains("empty cell"), "{message}");
    assert!(refused("Unnamed: 0\n0\n1\n").contains("expected columns of numbers, got the one column `Unnamed: 0`"));
}

#[test]
fn defects_name_line_and_column() {
    for (text, says) in [
        ("", "got an empty file"),
        ("\n \n\n", "got an empty file"),
        ("a,b\n", "a line of names alone"),
        ("1,2\n3\n", "line 2: expected 2 values as in the first row, got 1"),
        ("1,2\n3,4,5\n", "line 2: expected 2 values as in the first row, got 3"),
        ("a,b\r\n1,2\r\n\r\n3,4,5\r\n", "line 4: expected 2 values as in the first row, got 3"),
        ("sep=;\na;b\n1;2\n3\n", "line 4: expected 2 values as in the first row, got 1"),
        ("1\r2\rx\r4", "line 3, column 1: expected a number, got `x`"),
        ("1,2\n3,\n", "line 2, column 2: expected a number, got an empty cell"),
        (",\n1,2\n", "line 1, column 1: expected a number, got an empty cell"),
        ("1.5,b\n2,3\n", "line 1, column 2: expected a number, got `b`; is the first line one of names?"),
        ("a,b\n1,2\n3,4 m\n", "line 3, column 2: expected a number, got `4 m`; write it as"),
        ("1,NA\n3,4\n", "line 1, column 2: expected a number, got `NA`; fill in what is missing"),
        ("a,b\n3,null\n", "got `null`; fill in what is missing"),
        ("a;b\n3;#N/A\n", "line 2, column 2: expected a number, got `#N/A`; fill in what is missing"),
        ("1,2\n3,1e999\n", "line 2, column 2: expected a number, got `1e999`; the largest"),
        ("1,2\n3,\u{1b}[2J\n", "got `\\u{1b}[2J`"),
    ] {
        let message = refused(text);
        assert!(message.contains(says), "{text:?}: {message}");
        assert!(!message.contains('\n') && !message.contains('\u{1b}'), "{message}");
    }
    let message = parse(b"1,2\n3,\xff\n", 10, Header::Told).unwrap_err().to_string();
    assert!(message.starts_with("line 2, column 2: expected text in UTF-8"), "{message}");
    assert!(matches!(parse(b"1,2\n3,4\n", 3, Header::Told), Err(Defect::TooMany { most: 3 })));
    let missing = read(Path::new("no/such.csv"), 10, Header::Told).unwrap_err().to_string();
    assert!(missing.starts_with("no/such.csv: cannot be read"), "{missing}");
}
