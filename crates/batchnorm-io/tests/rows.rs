//! Rows of arrays, read from where they stand, beside the same arrays read whole.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::thread;

use batchnorm_io::npy::{self, Defect, Rows};
use batchnorm_io::npz::{Npz, NpzDefect, Packing, Writer};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// An array of more than one block of 64 KiB, in f64, whose values are their places.
fn counted(shape: &[usize]) -> Vec<f64> {
    (0..shape.iter().product()).map(|at| at as f64 + 0.1).collect()
}

fn save(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// The header that NumPy would write, for what we read and do not write.
fn with_header(descr: &str, fortran_order: bool, shape: &str, numbers: &[u8]) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(numbers);
    bytes
}

#[test]
fn rows_are_those_of_the_whole_array_for_every_type_and_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut read = 0;
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".npy") || name.starts_with("refused") {
            continue;
        }
        let whole = npy::read(&path).unwrap();
        let rows = match Rows::open(&path) {
            Ok(rows) => rows,
            Err(error) => {
                let expected = match &name[..] {
                    "f4_scalar.npy" => "expected an array whose first axis counts its rows",
                    "f4_fortran.npy" => "save np.ascontiguousarray(x)",
                    _ => panic!("{error}"),
                };
                assert!(error.to_string().contains(expected) && error.to_string().contains(&name), "{error}");
                continue;
            }
        };
        let all: Vec<u32> = whole.numbers.to_f64().iter().map(|&value| (value as f32).to_bits()).collect();
        let bits = |values: Vec<f32>| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let count = rows.shape()[0];
        assert_eq!((rows.shape(), rows.number_type()), (&whole.shape[..], whole.numbers.number_type()));
        // (NaN may change its payload on the way through f64.)
        let same = |one: &[u32], other: &[u32]| {
            one.len() == other.len()
                && one.iter().zip(other).all(|(&one, &other)| {
                    one == other || f32::from_bits(one).is_nan() && f32::from_bits(other).is_nan()
                })
        };
        assert!(same(&bits(rows.read(0..count).unwrap()), &all), "{name}");
        for row in 0..count {
            let each = all.len() / count;
            assert!(same(&bits(rows.read(row..row + 1).unwrap()), &all[row * each..(row + 1) * each]), "{name} {row}");
        }
        read += 1;
    }
    assert!(read > 8, "{read}");

    let path = folder.path().join("big.npy");
    let values = counted(&[300, 7, 11]);
    save(&path, &npy::encode(&[300, 7, 11], &values).unwrap());
    let rows = Rows::open(&path).unwrap();
    let nearest: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    for (from, to) in [(0, 300), (0, 0), (300, 300), (17, 18), (5, 299)] {
        assert_eq!(rows.read(from..to).unwrap(), nearest[from * 77..to * 77]);
    }
    // From several threads at once.
    thread::scope(|scope| {
        for first in 0..4 {
            let (rows, nearest) = (&rows, &nearest);
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(rows.read(first * 70..first * 70 + 70).unwrap(), nearest[first * 5390..][..5390]);
                }
            });
        }
    });
}

#[test]
fn what_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let says = |bytes: &[u8], expected: &str| {
        save(&path, bytes);
        let error = Rows::open(&path).and_then(|rows| rows.read(0..rows.shape()[0])).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("x.npy"), "{error}");
    };
    let good = npy::encode(&[4, 3], &[1.0f32; 12]).unwrap();
    says(&good[..good.len() - 1], "ends within its data");
    says(&[&good[..], &[0]].concat(), "one file holds one array");
    says(&with_header("<f4", true, "(2, 2)", &[0; 16]), "shape (2, 2) in Fortran order");
    says(&with_header("<u8", false, "(2, 1)", &[0xff; 16]), "value 0: expected whole numbers");
    let mut long = b"\x93NUMPY\x02\x00".to_vec();
    long.extend((2u32 << 20).to_le_bytes());
    long.resize(3 << 20, b' ');
    says(&long, "expected a header of at most 1048576 bytes, found one of 2097152");
    says(&with_header("<f4", false, "(1000000000000, 1000000000000)", &[]), "larger than any memory");

    // One axis alone is longer than 1: both orders are one.
    save(&path, &with_header("<f4", true, "(1, 2, 1)", &[1.0f32, 2.0].map(f32::to_le_bytes).concat()));
    assert_eq!(Rows::open(&path).unwrap().read(0..1).unwrap(), [1.0, 2.0]);
    // Axes without length.
    save(&path, &with_header("<f4", false, "(0, 5)", &[]));
    assert_eq!(Rows::open(&path).unwrap().read(0..0).unwrap(), []);
    save(&path, &with_header("<f4", false, "(5, 0)", &[]));
    assert_eq!(Rows::open(&path).unwrap().read(1..4).unwrap(), []);

    save(&path, &good);
    let rows = Rows::open(&path).unwrap();
    for (first, end) in [(0, 5), (4, 5), (usize::MAX, usize::MAX), (3, 2)] {
        let error = rows.read(std::ops::Range { start: first, end }).unwrap_err();
        assert!(matches!(error.defect, Defect::Rows { rows: 4, .. }), "{error}");
    }
    // A file that shrinks while it is open.
    save(&path, &good[..good.len() - 20]);
    assert!(rows.read(0..4).unwrap_err().to_string().contains("reading failed"));
    assert!(Rows::open(folder.path()).unwrap_err().to_string().contains("found a folder"));
}

#[test]
fn members_of_archives_are_read_where_they_stand_or_unpacked_within_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    for packing in [Packing::Stored, Packing::Deflated] {
        let mut writer = Writer::new(Vec::new(), packing);
        writer.array("first", &[50, 3], &counted(&[50, 3])).unwrap();
        writer.array("second", &[50], &counted(&[50])).unwrap();
        let bytes = writer.finish().unwrap();
        save(&path, &bytes);
        for archive in [Npz::open(&path).unwrap(), Npz::parse(bytes.clone()).unwrap()] {
            let (first, second) = (archive.rows("first", 2000).unwrap(), archive.rows("second", 2000).unwrap());
            assert_eq!((first.shape(), second.shape()), (&[50, 3][..], &[50][..]));
            for (from, to) in [(0, 50), (7, 8), (20, 41)] {
                let nearest = |values: Vec<f64>| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
                assert_eq!(first.read(from..to).unwrap(), nearest(counted(&[50, 3]))[from * 3..to * 3]);
                assert_eq!(second.read(from..to).unwrap(), nearest(counted(&[50]))[from..to]);
            }
            assert!(matches!(archive.rows("third", 9).unwrap_err().defect, NpzDefect::Missing { .. }));
        }
        let archive = Npz::open(&path).unwrap();
        let deflated = packing == Packing::Deflated;
        assert_eq!(archive.unpacked_bytes("first"), if deflated { 128 + 1200 } else { 0 });
        match archive.rows("first", 1327) {
            Err(error) => assert!(deflated && error.to_string().contains("save the arrays with np.savez"), "{error}"),
            Ok(_) => assert!(!deflated),
        }
        // A byte of the numbers is another one.
        let mut damaged = bytes.clone();
        let at = if deflated { 200 } else { 800 };
        damaged[at] ^= 1;
        save(&path, &damaged);
        let error = Npz::open(&path).unwrap().rows("first", 2000).unwrap_err();
        let is_damage = matches!(error.defect, NpzDefect::Checksum { .. } | NpzDefect::Unpacking { .. });
        assert!(is_damage && error.to_string().contains("member 'first.npy'"), "{error}");
    }
}
