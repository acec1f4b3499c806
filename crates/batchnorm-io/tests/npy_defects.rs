//! One test per kind of defect: the variant, and what the message must name.

use std::io::ErrorKind;
use std::path::Path;

use batchnorm_io::npy::{self, Array, Defect, NpyError, Numbers};

/// A file of version `major`.0 with this header and these bytes after it.
fn file(major: u8, header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([major, 0]);
    match major {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    [&bytes, header, data].concat()
}

/// The array of a header in front of 24 bytes.
fn header(text: &str) -> Result<Array, NpyError> {
    npy::parse(&file(1, text.as_bytes(), &[0; 24]))
}

fn defect(text: &str) -> Defect {
    match header(text) {
        Ok(array) => panic!("accepted {text:?} as {array:?}"),
        Err(error) => error.defect,
    }
}

fn with_shape(shape: &str) -> String {
    format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")
}

#[test]
fn every_way_python_may_write_a_header_is_read() {
    let wanted = header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n").unwrap();
    assert_eq!(wanted.shape, [2, 3]);
    for text in [
        "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
        "{\"shape\":(2,3,),\"descr\":\"<f4\",\"fortran_order\":False}",
        " \t{ 'descr' : '<f4' ,\n'fortran_order' :False,'shape': ( 2 , 3 , ) , } \n  ",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
    ] {
        assert_eq!(header(text).unwrap(), wanted, "{text}");
    }
    for descr in ["=f4", "|f4", "f4"] {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 3)}}");
        assert_eq!(header(&text).unwrap(), wanted, "{descr}: the order of this machine");
    }
    assert_eq!(header(&with_shape("(6,)")).unwrap().shape, [6]);
    assert_eq!(npy::parse(&file(1, with_shape("( )").as_bytes(), &[0; 4])).unwrap().shape, [0; 0]);
}

#[test]
fn what_is_no_dictionary_names_the_byte() {
    for (text, at) in [
        ("", 0),
        ("   \n", 4),
        ("[1]", 0),
        ("{", 1),
        ("{,}", 1),
        ("{descr: 1}", 1),
        ("{'descr'}", 8),
        ("{'descr' '<f4'}", 9),
        ("{'descr': }", 10),
        ("{'descr': , }", 10),
        ("{'descr': '<f4'", 15),
        ("{'descr': '<f4", 14),
        ("{'descr': '<f4\n'}", 14),
        ("{'de\\x73cr': '<f4'}", 4),
        ("{'descr': '<f4']", 15),
        ("{'descr': ('<f4', }", 19),
        ("{'descr': '<f4',, }", 16),
        ("{'descr': '<f4', 'shape': (6,), 'fortran_order': False} {", 56),
        ("{'descr': '<f4', 'shape': (6,), 'fortran_order': False}\0", 55),
    ] {
        let error = header(text).unwrap_err();
        assert!(matches!(&error.defect, Defect::Syntax { at: found, .. } if *found == at), "{text:?}: {error:?}");
        assert!(error.to_string().contains(&format!("at byte {at} expected ")), "{error}");
    }
}

#[test]
fn nesting_and_length_are_harmless() {
    let deep = format!("{{'descr': {}", "[".repeat(60_000));
    assert!(matches!(defect(&deep), Defect::Syntax { .. }));
    let wide = format!("{{'descr': [{}]}}", "'<f4',".repeat(9_000));
    let message = defect(&wide).to_string();
    assert!(message.len() < 200, "{message}");
    let many_axes = format!("({})", "9,".repeat(30_000));
    let message = defect(&with_shape(&many_axes)).to_string();
    assert!(message.contains("larger than any memory"), "{message}");
    assert!(message.len() < 200, "{message}");
}

#[test]
fn keys_must_be_the_three_once_each() {
    let unknown = "{'descr': '<f4', 'order': 1, 'fortran_order': False, 'shape': (6,)}";
    assert!(matches!(defect(unknown), Defect::UnknownKey { key } if key == "order"));
    for key in ["descr", "fortran_order", "shape"] {
        let entries = [("descr", "'<f4'"), ("fortran_order", "False"), ("shape", "(6,)")];
        let entry = |(k, v): &(&str, &str)| format!("'{k}': {v}, ");
        let twice: String = entries.iter().map(|e| entry(e).repeat(1 + usize::from(e.0 == key))).collect();
        let missing: String = entries.iter().filter(|e| e.0 != key).map(entry).collect();
        assert!(matches!(defect(&format!("{{{twice}}}")), Defect::DuplicateKey { key: k } if k == key));
        assert!(matches!(defect(&format!("{{{missing}}}")), Defect::MissingKey { key: k } if k == key));
    }
    assert!(matches!(defect("{}"), Defect::MissingKey { key: "descr" }));
}

#[test]
fn values_must_be_of_their_kind() {
    for shape in [
        "6",
        "(6)",
        "[6]",
        "(6",
        "(-6,)",
        "(+6,)",
        "(6.0,)",
        "(6e0,)",
        "(0x6,)",
        "(06,)",
        "(6l,)",
        "(L,)",
        "(,)",
        "(6,,)",
        "(2 3,)",
        "(2, (3,))",
        "None",
        "'(6,)'",
        "(6,) + ()",
        "(True,)",
        "(1_0,)",
        "(99999999999999999999,)",
    ] {
        match header(&with_shape(shape)) {
            Err(NpyError { defect: Defect::Value { key: "shape", found, .. }, .. }) => {
                assert_eq!(found, shape);
            }
            // An open bracket swallows the end of the dictionary.
            Err(NpyError { defect: Defect::Syntax { .. }, .. }) if shape == "(6" => {}
            other => panic!("{shape}: {other:?}"),
        }
    }
    for value in ["0", "1", "true", "None", "'False'", "False or True"] {
        let text = format!("{{'descr': '<f4', 'fortran_order': {value}, 'shape': (6,)}}");
        assert!(matches!(defect(&text), Defect::Value { key: "fortran_order", .. }), "{value}");
    }
    for value in ["4", "None", "float32", "'<f4' 'x'", "u'<f4'"] {
        let text = format!("{{'descr': {value}, 'fortran_order': False, 'shape': (6,)}}");
        assert!(matches!(defect(&text), Defect::Value { key: "descr", .. }), "{value}");
    }
    for value in ["''", "'<'", "'<<f4'", "'f'", "'<f3'", "'<F4'", "'float32'", "' <f4'", "('<f4', (3,))"] {
        let text = format!("{{'descr': {value}, 'fortran_order': False, 'shape': (6,)}}");
        assert!(matches!(defect(&text), Defect::NumberType { .. }), "{value}");
    }
}

#[test]
fn the_character_set_is_that_of_the_version() {
    let text = "{'descr': '<f4', 'é': 1}".as_bytes();
    for major in [1, 2] {
        let error = npy::parse(&file(major, text, &[])).unwrap_err();
        assert!(matches!(error.defect, Defect::Encoding { expected: "ASCII", at: 18 }), "{error}");
    }
    let error = npy::parse(&file(3, text, &[])).unwrap_err();
    assert!(matches!(&error.defect, Defect::UnknownKey { key } if key == "é"), "{error}");
    let error = npy::parse(&file(3, b"{'\xff'", &[])).unwrap_err();
    assert!(matches!(error.defect, Defect::Encoding { expected: "UTF-8", at: 2 }), "{error}");
}

#[test]
fn what_is_not_npy_is_told_from_its_first_bytes() {
    for bytes in [&b"PK\x03\x04 an npz"[..], b"P", b"\x93NUMPX\x01\x00", b"1.0,2.0\n"] {
        let error = npy::parse(bytes).unwrap_err();
        assert!(matches!(error.defect, Defect::Magic { .. }), "{error}");
        assert!(error.to_string().contains("np.save"), "{error}");
    }
    for (major, minor) in [(0, 0), (1, 1), (2, 1), (4, 0), (255, 255)] {
        let error = npy::parse(&[b"\x93NUMPY".as_slice(), &[major, minor], &[0; 90]].concat()).unwrap_err();
        assert!(error.to_string().contains(&format!("found {major}.{minor}")), "{error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    for major in [1, 2, 3] {
        let whole = file(major, with_shape("(2, 3)").as_bytes(), &[1; 24]);
        npy::parse(&whole).unwrap();
        for length in 0..whole.len() {
            let error = npy::parse(&whole[..length]).unwrap_err();
            let Defect::Truncated { expected, found, .. } = error.defect else { panic!("{length}: {error}") };
            assert_eq!(found, length as u64);
            assert!(expected > found && expected <= whole.len() as u64);
            let message = error.to_string();
            assert!(message.contains(&format!("expected {expected} bytes, found {length}")), "{message}");
        }
    }
}

#[test]
fn a_file_that_goes_on_is_refused() {
    let bytes = file(1, with_shape("(2, 3)").as_bytes(), &[1; 25]);
    let error = npy::parse(&bytes).unwrap_err();
    let length = bytes.len();
    assert!(matches!(error.defect, Defect::Trailing { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("(2, 3)") && message.contains(&format!("found {length}")), "{message}");
}

/// If anything were allocated by the claim instead of the file, these would end the test run.
#[test]
fn a_small_file_that_claims_to_be_huge_costs_nothing() {
    let mut bytes = file(1, with_shape("(1000000000000000000,)").as_bytes(), &[]);
    bytes.resize(200, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.npy");
    std::fs::write(&path, &bytes).unwrap();
    for error in [npy::parse(&bytes).unwrap_err(), npy::read(&path).unwrap_err()] {
        let Defect::Truncated { part: "data", expected, found: 200 } = error.defect else { panic!("{error}") };
        assert!(expected > 4_000_000_000_000_000_000);
    }

    for shape in ["(4000000000000000000,)", "(18446744073709551615, 18446744073709551615)"] {
        assert!(matches!(defect(&with_shape(shape)), Defect::TooLarge { bytes_each: 4, .. }), "{shape}");
    }
    // A header of 4 GiB in a file of a few bytes.
    let error = npy::parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}").unwrap_err();
    assert!(matches!(error.defect, Defect::Truncated { part: "header", .. }), "{error}");
}

#[test]
fn an_axis_of_length_0_does_not_excuse_the_others() {
    let empty = npy::parse(&file(1, with_shape("(0, 1000000000000000000)").as_bytes(), &[])).unwrap();
    assert_eq!(empty.numbers, Numbers::F32(vec![]));
    for shape in ["(0, 10000000000, 10000000000)", "(10000000000, 10000000000, 0)"] {
        assert!(matches!(defect(&with_shape(shape)), Defect::TooLarge { .. }), "{shape}");
    }
}

#[test]
fn the_path_is_named_and_must_be_a_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("x.npy");
    let error = npy::read(&missing).unwrap_err();
    assert!(matches!(&error.defect, Defect::Open { reason } if reason.kind() == ErrorKind::NotFound));
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    assert_eq!(error.path, Some(missing));

    let error = npy::read(folder.path()).unwrap_err();
    assert!(matches!(error.defect, Defect::NotAFile { found: "a folder" }), "{error}");
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.npy");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for path in [Path::new("/dev/zero"), &pipe] {
        let error = npy::read(path).unwrap_err();
        assert!(matches!(error.defect, Defect::NotAFile { .. }), "{error}");
    }
}

#[test]
fn the_writer_refuses_a_shape_that_is_not_that_of_the_values() {
    let too_many = usize::MAX;
    for (shape, found) in [(&[2, 3][..], 5), (&[], 0), (&[0], 1), (&[too_many, too_many], 1)] {
        let values = vec![0f32; found];
        let error = npy::encode(shape, &values).unwrap_err();
        assert!(matches!(error.defect, Defect::Count { found: n, .. } if n == found), "{error}");
        let mut out = Vec::new();
        let error = npy::write(&mut out, shape, &values).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.get_ref().is_some_and(|inner| inner.is::<NpyError>()));
        assert!(out.is_empty());
    }
}

#[test]
fn the_shape_is_known_without_the_numbers_and_refused_like_the_array() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    std::fs::write(&path, npy::encode(&[3, 0, 5], &[] as &[f32]).unwrap()).unwrap();
    assert_eq!(npy::shape(&path).unwrap(), [3, 0, 5]);
    // A hole where 8 GB of numbers would be.
    let header = with_shape("(32768, 32768)").replace("<f4", "<f8");
    let start = file(1, header.as_bytes(), &[]);
    std::fs::write(&path, &start).unwrap();
    let cut = npy::shape(&path).unwrap_err().to_string();
    assert_eq!(cut, npy::read(&path).unwrap_err().to_string());
    assert!(cut.contains("ends within its data"), "{cut}");
    let open = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    open.set_len(start.len() as u64 + (8 << 30)).unwrap();
    assert_eq!(npy::shape(&path).unwrap(), [32768, 32768]);
    open.set_len(start.len() as u64 + (8 << 30) + 1).unwrap();
    assert!(matches!(npy::shape(&path).unwrap_err().defect, Defect::Trailing { .. }));
}
