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
        ("3,7\n1.5,2\n0.5,0.25\n", ""),
        ("1stFlrSF,2ndFlrSF,name\n5,6,1\n7,8,2\n", "1stFlrSF|2ndFlrSF|name"),
        ("#chrom,pos\n5,6\n7,8\n", "#chrom|pos"),
        ("2021,2020,2019\n0.5,1.5,2.5\n0.1,0.2,0.3\n", "2021|2020|2019"),
        (",400,401\n0,.12,.5\n1,.25,.5\n", "400|401"),
        (",3,7\n0,12,13\n1,5,6\n", "3|7"),
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
        ("3,7\n1.5,2.5\n0.5,0.25\n", 2),
        ("400,401,402\n0.12,0.13,0.11\n0.2,0.3,0.33\n", 2),
        ("10,20,30\n0.5,1.5,2.5\n0.1,0.2,0.3\n", 2),
        ("2021,2020,2019\n5,15,25\n1,2,3\n", 2),
        ("0.0,1.0,2.0\n5,6,7\n8,9,10\n", 2),
        ("400.5,401.0,401.5\n0.1,0.7,0.2\n0.3,0.1,0.9\n", 2),
        ("3\n1.5\n2.5\n9.5\n", 3),
        ("0,0\n1,2\n1.5,2.5\n3.5,4.5\n", 3),
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
        (
            "date,a\n2020-01-01,5\n2020-01-02,6\n",
            "got `2020-01-01`; a date or a time is no number: take its column out",
        ),
        ("a,t\n1,12:30\n3,4\n", "got `12:30`; a date or a time"),
        ("a|b\n1|2\n3|4\n", "got `1|2`; part values by commas"),
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

/// What is neither a word nor a number is no header, and no sample that may be lost.
#[test]
fn a_first_line_of_slips_is_refused_and_never_lost() {
    for first in [
        "0x1F",
        "1'234.5",
        "1.5x",
        "1.5%,2%",
        "\u{2212}1.5",
        "1_000",
        "1.5D+00 2.5D+00",
        "1.O,2.O",
        "\"1 234\"",
        "1.2.3",
        "$1.5",
        "1\u{a0}234",
        "1/2,1/3",
        "1+2j",
        "1.#INF,1.#QNAN",
        "#VALUE!,#DIV/0!",
        "1.5.2020,2.5.2020",
        "2020-01-01",
        "*,**",
    ] {
        let columns = first.split([',', ' ']).count().min(if first.starts_with('"') { 1 } else { 9 });
        let row = |value: &str| vec![value; columns].join(if first.contains(' ') { " " } else { "," });
        let text = format!("{first}\n{}\n{}\n", row("2.5"), row("3.25"));
        let message = refused(&text);
        assert!(message.contains("--header") || message.contains("expected a number"), "{text:?}: {message}");
    }
    assert_eq!(table("True,False\n1,0\n0,1\n").values, [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    assert_eq!(table(",a,b\n0,True,False\n1,FALSE,TRUE\n").values, [1.0, 0.0, 0.0, 1.0]);
}

/// A comma may stand in front of decimals: what it parts is never taken for a column of row names.
#[test]
fn decimal_commas_are_no_names_of_rows() {
    for text in [
        "price\n1,25\n2,75\n3,50\n",
        "x\n0,5\n1,5\n2,5\n",
        "\"x\"\n1,25\n2,75\n",
        "total\n1,234\n3,456\n",
        "total,count\n1,234,2\n3,456,4\n",
    ] {
        for header in [Header::Told, Header::Yes] {
            let message = parse(text.as_bytes(), 100, header).expect_err(text).to_string();
            assert!(message.contains("decimals have commas"), "{text:?}: {message}");
        }
    }
    assert_eq!(table("price;n\n0,123;0,555\n0,5;1\n").values, [0.123, 0.555, 0.5, 1.0]);
    assert_eq!(table("price;n\n0,123;0,555\n").values, [0.123, 0.555]);
    // R's short header of numbers, between spaces.
    let table = parse(b"1 2\n1 10 20\n2 30 40\n", 100, Header::Yes).expect("names");
    assert_eq!((table.columns, &table.values[..]), (2, &[10.0, 20.0, 30.0, 40.0][..]));
}

#[test]
fn columns_of_numbers_of_rows_are_left_out_or_said_wherever_they_stand() {
    let notes = |text: &str| table(text).notes.iter().map(ToString::to_string).collect::<Vec<String>>();
    for (text, values) in [
        (",Unnamed: 0,a\n0,0,5\n1,1,7\n2,2,6\n", [5.0, 7.0, 6.0]),
        ("Unnamed: 0.1,Unnamed: 0,a\n0,0,5\n1,1,7\n2,2,6\n", [5.0, 7.0, 6.0]),
        (",a\n0.0,5\n1.0,7\n2.0,6\n", [5.0, 7.0, 6.0]),
        (",a\n5,5\n5,7\n2,6\n", [5.0, 7.0, 6.0]),
        (",a\n-1,5\n0,7\n1,6\n", [5.0, 7.0, 6.0]),
        (",,a\n0,0,5\n0,1,7\n1,0,6\n", [5.0, 7.0, 6.0]),
    ] {
        assert_eq!(table(text).values, values, "{text:?}");
        let said = notes(text);
        assert!(!said.is_empty() && said.iter().all(|note| note.contains("was left out")), "{text:?}: {said:?}");
    }
    for (text, says) in [
        (",a\n0.5,5\n1.0,7\n1.75,6\n", "the first column, with an empty header, was kept as a feature"),
        ("0.0,1.5\n1.0,2.5\n2.0,0.5\n", "the first column, without a header, was kept as a feature, though it counts"),
        ("id,a\n101,5\n102,7\n103,6\n", "the first column, `id`, was kept as a feature, though it counts"),
        ("a,n\n1,0\n3,1\n5,2\n", "column 2, `n`, was kept as a feature, though it counts"),
        ("a,\n1,0\n3,1\n5,7\n", "column 2, with an empty header, was kept as a feature"),
        ("index,a\n105,1\n98,2\n110,9\n", ""),
    ] {
        let said = notes(text).join("; ");
        assert!(said.contains(says) && (says.is_empty() == said.is_empty()), "{text:?}: {said}");
    }
}

#[test]
fn comments_separators_at_the_end_and_empty_lines_there_are_left_out_and_said() {
    let plain = table("1.5,2.5\n3,4.5\n");
    for (text, says) in [
        ("# a b\n1.5 2.5\n3 4.5\n", "the line `# a b` was left out: it is a comment"),
        ("% saved by MATLAB\n%\n1.5,2.5\n3,4.5\n", "2 lines were left out"),
        ("1.5,2.5\n3,4.5\n# end\n", "the line `# end` was left out"),
        ("1.5,2.5,\n3,4.5,\n", "the last column was left out: it is empty"),
        ("1.5;2.5;\n3;4.5;\n", "the last column was left out: it is empty"),
        ("1.5,2.5\n3,4.5\n,\n,\n", ""),
    ] {
        let table = table(text);
        assert_eq!((table.rows, table.columns, &table.values), (2, 2, &plain.values), "{text:?}");
        let said = table.notes.first().map_or(String::new(), ToString::to_string);
        assert!(said.contains(says) && (says.is_empty() == said.is_empty()), "{text:?}: {said}");
    }
    let message = refused("1,2\n,\n3,4\n");
    assert!(message.contains("line 2, column 1: expected a number, got an empty cell"), "{message}");
    let message = refused("Row,a\nr1,5\nr2,6\n");
    assert!(message.contains("got `r1`; is it a column of names?"), "{message}");
}
