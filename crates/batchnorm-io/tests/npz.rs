//! Archives: what NumPy wrote (tests/golden/make.py), what we write, and every defect with its member's name.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use batchnorm_io::npy::{Numbers, WholeType};
use batchnorm_io::npz::{Npz, NpzDefect, NpzError, Packing, Writer};
use half::f16;

const DOUBLES: [f64; 6] = [0.0, 1.5, -2.0, 0.1, 1e30, -1e-30];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.npz"))
}

fn two(packing: Packing) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), packing);
    writer.array("x", &[2, 3], &DOUBLES.map(|x| x as f32)).unwrap();
    writer.array("y", &[40], &[0.25f64; 40]).unwrap();
    writer.finish().unwrap()
}

/// What is wrong with an archive, when it is opened or when all of its arrays are read.
fn defect(bytes: &[u8]) -> NpzError {
    let read = Npz::parse(bytes.to_vec()).and_then(|archive| {
        let names: Vec<String> = archive.names().map(str::to_string).collect();
        names.iter().try_for_each(|name| archive.array(name).map(drop))
    });
    read.expect_err("a defect")
}

/// Every place where `from` stands, overwritten.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "nothing to replace");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// Where the directory's entry of a member begins.
fn directory_entry(bytes: &[u8], number: usize) -> usize {
    (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"PK\x01\x02")).nth(number).unwrap()
}

#[test]
fn numpys_archives_are_read_stored_and_compressed() {
    for name in ["savez", "savez_compressed"] {
        let archive = Npz::open(&golden(name)).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["x", "gamma", "half", "empty", "größe"]);
        let x = archive.array("x").unwrap();
        assert_eq!((x.shape, x.numbers), (vec![2, 3], Numbers::F32(DOUBLES.map(|x| x as f32).to_vec())));
        assert_eq!(archive.array("gamma").unwrap().numbers, Numbers::F64(vec![1.0, 0.5]));
        let Numbers::F16(half) = archive.array("half").unwrap().numbers else { panic!("halves") };
        assert_eq!(half[11].to_bits(), 0x7FFF);
        assert_eq!(archive.array("empty").unwrap().shape, [0, 3]);
        let fortran = archive.array("größe").unwrap();
        assert!(fortran.fortran_order && fortran.numbers.to_f64()[1] == DOUBLES[3]);
        assert!(archive.contains("x") && !archive.contains("y"));
    }
}

#[test]
fn whole_numbers_are_read_beside_floats() {
    let archive = Npz::open(&golden("savez_with_integers")).unwrap();
    assert_eq!(archive.array("x").unwrap().numbers.len(), 6);
    let counters = archive.array("n").unwrap().numbers;
    assert_eq!(counters, Numbers::Whole(WholeType::Signed(8), vec![0, 1, 2]));
    assert_eq!(counters.number_type().to_string(), "int64");
}

#[test]
fn what_is_written_is_read_and_is_the_same_every_time() {
    for packing in [Packing::Stored, Packing::Deflated] {
        let bytes = two(packing);
        assert_eq!(bytes, two(packing), "no time, no chance");
        let archive = Npz::parse(bytes).unwrap();
        assert_eq!(archive.array("x").unwrap().numbers, Numbers::F32(DOUBLES.map(|x| x as f32).to_vec()));
        assert_eq!(archive.array("y").unwrap().numbers, Numbers::F64(vec![0.25; 40]));
    }
    assert!(two(Packing::Deflated).len() < two(Packing::Stored).len());
    let none = Npz::parse(Writer::new(Vec::new(), Packing::Stored).finish().unwrap()).unwrap();
    assert_eq!(none.names().count(), 0);
    assert!(none.array("x").unwrap_err().to_string().starts_with("has no array 'x', only none at all"));
}

#[test]
fn the_writer_refuses_names_and_shapes_before_it_writes() {
    let mut writer = Writer::new(Vec::new(), Packing::Stored);
    writer.array("x", &[1], &[1.0f32]).unwrap();
    for name in ["", "a/b", "..\\a", "c:x", "line\nbreak", "x"] {
        let error = writer.array(name, &[1], &[1.0f32]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("argument `name` is '"), "{error}");
    }
    assert!(writer.array(&"n".repeat(70_000), &[1], &[1.0f32]).unwrap_err().to_string().ends_with("a shorter one"));
    let error = writer.array("y", &[2], &[1.0f32]).unwrap_err();
    assert!(error.to_string().contains("`values` has 1 numbers, but `shape` (2,) wants 2"), "{error}");
    writer.array("y", &[1], &[f16::ONE]).unwrap();
    assert_eq!(Npz::parse(writer.finish().unwrap()).unwrap().names().collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    for (bytes, found) in [
        (&b""[..], "found an empty file"),
        (&b"\x93NUMPY\x01\x00"[..], "found a single array in a .npy file"),
        (&b"time,value\n"[..], "found something else"),
    ] {
        let message = defect(bytes).to_string();
        assert!(
            message.starts_with("not a .npz file: expected a zip archive, ") && message.contains(found),
            "{message}"
        );
    }
    let error = Npz::open("tests".as_ref()).unwrap_err();
    assert!(error.to_string().starts_with("tests: expected a regular file, found a folder"), "{error}");
    let error = Npz::open("no such file".as_ref()).unwrap_err();
    assert!(error.to_string().starts_with("no such file: cannot be opened"), "{error}");
}

#[test]
fn truncated_anywhere_it_is_refused() {
    for packing in [Packing::Stored, Packing::Deflated] {
        let bytes = two(packing);
        for length in 0..bytes.len() {
            defect(&bytes[..length]);
        }
        let message = defect(&bytes[..bytes.len() - 30]).to_string();
        assert!(message.contains("its directory, at the end of the file, is missing"), "{message}");
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(defect(&longer).defect, NpzDefect::Damaged { .. } | NpzDefect::NotAnArchive { .. }));
    }
}

#[test]
fn a_changed_byte_of_an_array_is_found_by_its_checksum() {
    let bytes = two(Packing::Stored);
    let at = bytes.windows(8).position(|window| window == 0.25f64.to_le_bytes()).unwrap();
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    let error = defect(&changed);
    assert_eq!(error.member.as_deref(), Some("y.npy"));
    assert!(matches!(error.defect, NpzDefect::Checksum { .. }), "{error}");
    assert!(error.to_string().contains("expected the checksum "), "{error}");
    // In the header it is the checksum too that says why it makes no sense.
    let mut changed = bytes.clone();
    let at = bytes.windows(7).position(|window| window == b"'descr'").unwrap();
    changed[at] = b'?';
    assert!(matches!(defect(&changed).defect, NpzDefect::Checksum { .. }));
}

#[test]
fn names_that_are_paths_or_no_arrays() {
    let bytes = two(Packing::Stored);
    for (to, expected) in [
        (&b"/.npy"[..], "a member's name must be text without '/'"),
        (b"\\.npy", "a member's name must be text without '/'"),
        (b"\x1b.npy", "a member's name must be text without '/'"),
        (b"\xff.npy", "a member's name must be text without '/'"),
        (b"x.txt", "expected arrays only, each in a member NAME.npy"),
        (b"x.npz", "expected arrays only, each in a member NAME.npy"),
    ] {
        let error = defect(&replaced(&bytes, b"x.npy", to));
        assert!(error.to_string().contains(expected) && error.to_string().starts_with("member '"), "{error}");
        assert!(!error.to_string().contains('\x1b'), "nothing a terminal would obey");
    }
    let error = defect(&replaced(&bytes, b"y.npy", b"x.npy"));
    assert!(matches!(error.defect, NpzDefect::Duplicate) && error.member.as_deref() == Some("x.npy"), "{error}");
    // The directory says another name than the member itself.
    let mut differing = bytes.clone();
    let entry = directory_entry(&bytes, 0);
    differing[entry + 46] = b'z';
    assert!(
        defect(&differing).to_string().contains("member 'z.npy': the archive is damaged: the directory has another")
    );
}

#[test]
fn methods_and_passwords_that_are_not_known() {
    let bytes = two(Packing::Stored);
    let entry = directory_entry(&bytes, 1);
    let mut other = bytes.clone();
    other[entry + 10] = 12;
    let message = defect(&other).to_string();
    assert!(
        message.starts_with("member 'y.npy': packed by method ") && message.contains("expected stored or deflated")
    );
    let mut secret = bytes.clone();
    secret[entry + 8] |= 1;
    assert!(matches!(defect(&secret).defect, NpzDefect::Encrypted));
}

#[test]
fn sizes_are_judged_before_anything_is_unpacked() {
    let bytes = two(Packing::Deflated);
    let entry = directory_entry(&bytes, 1);
    // 4 GB out of some hundred bytes.
    let mut claims = bytes.clone();
    claims[entry + 24..entry + 28].copy_from_slice(&0xf000_0000u32.to_le_bytes());
    let error = defect(&claims);
    assert!(matches!(error.defect, NpzDefect::Impossible { .. }), "{error}");
    assert!(error.to_string().starts_with("member 'y.npy': claims 4026531840 bytes, but its "), "{error}");
    // One byte more or less than there is.
    for by in [-1i64, 1] {
        let mut claims = bytes.clone();
        let size = u32::from_le_bytes(claims[entry + 24..entry + 28].try_into().unwrap());
        claims[entry + 24..entry + 28].copy_from_slice(&((i64::from(size) + by) as u32).to_le_bytes());
        let error = defect(&claims);
        assert!(error.to_string().starts_with("member 'y.npy': "), "{error}");
    }
    // An archive that keeps its word, and a caller who takes no more than that.
    let zeros = vec![0.0f64; 100_000];
    let mut writer = Writer::new(Vec::new(), Packing::Deflated);
    for name in ["a", "b"] {
        writer.array(name, &[100_000], &zeros).unwrap();
    }
    let bomb = writer.finish().unwrap();
    assert!(bomb.len() < 4000);
    let error = Npz::parse_within(bomb.clone(), 1_600_255).unwrap_err();
    assert!(error.to_string().starts_with("the arrays hold 1600256 bytes together, more than the limit of 1600255"));
    assert_eq!(Npz::parse_within(bomb, 1_600_256).unwrap().array("b").unwrap().numbers.len(), 100_000);
}

#[test]
fn sizes_of_64_bits() {
    // The second member's sizes move into a field of 64 bits, as archives above 4 GB have them.
    let wide = |by: u64| {
        let mut bytes = two(Packing::Stored);
        let entry = directory_entry(&bytes, 1);
        let sizes: Vec<u64> = [entry + 24, entry + 20]
            .map(|at| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())) + by)
            .to_vec();
        bytes[entry + 20..entry + 28].fill(0xff);
        bytes[entry + 30] = 20;
        let field = [&[1, 0, 16, 0][..], &sizes[0].to_le_bytes(), &sizes[1].to_le_bytes()].concat();
        let name_end = entry + 46 + "y.npy".len();
        bytes.splice(name_end..name_end, field);
        let directory = bytes.len() - 22 + 12;
        bytes[directory] += 20;
        bytes
    };
    let archive = Npz::parse(wide(0)).unwrap();
    assert_eq!(archive.array("y").unwrap().numbers, Numbers::F64(vec![0.25; 40]));
    for by in [1 << 33, u64::MAX / 2] {
        let error = defect(&wide(by));
        assert!(error.to_string().starts_with("member 'y.npy': the archive is damaged: it reaches beyond"), "{error}");
    }
}

#[test]
fn members_that_share_bytes() {
    let bytes = two(Packing::Stored);
    // Two names for one place: the second entry of the directory points at the first member, which gets its name too.
    let (first, second) = (directory_entry(&bytes, 0), directory_entry(&bytes, 1));
    let mut shared = bytes.clone();
    shared.copy_within(first + 16..first + 28, second + 16);
    shared.copy_within(first + 42..first + 46, second + 42);
    shared[second + 46] = b'x';
    let error = defect(&shared);
    assert!(matches!(error.defect, NpzDefect::Duplicate | NpzDefect::Overlap { .. }), "{error}");
    // A size that reaches into the next member.
    let mut long = bytes.clone();
    for at in [first + 20, first + 24] {
        let size = u32::from_le_bytes(long[at..at + 4].try_into().unwrap());
        long[at..at + 4].copy_from_slice(&(size + 60).to_le_bytes());
    }
    let error = defect(&long);
    assert!(matches!(&error.defect, NpzDefect::Overlap { other } if other == "x.npy"), "{error}");
    assert!(error.to_string().starts_with("member 'y.npy': shares bytes with member 'x.npy'"), "{error}");
}

#[test]
fn a_count_that_is_not_that_of_the_directory() {
    let bytes = two(Packing::Stored);
    let mut fewer = bytes.clone();
    let end = bytes.len() - 22;
    fewer[end + 8] = 1;
    fewer[end + 10] = 1;
    assert!(defect(&fewer).to_string().contains("expected 1 members, found 2"));
}

#[test]
fn the_system_s_errors_pass_through_the_writer() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut writer = Writer::new(Full, Packing::Stored);
    assert_eq!(writer.array("x", &[1], &[1.0f32]).unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn numpy_reads_what_we_write() {
    let check = "import sys, zipfile, numpy as np\n\
                 for path in sys.argv[1:]:\n\
                 \x20   a = np.load(path)\n\
                 \x20   assert a.files == ['x', 'y', 'größe'], a.files\n\
                 \x20   assert a['x'].dtype == '<f4' and a['x'].shape == (2, 3) and a['x'][1, 1] == np.float32(1e30)\n\
                 \x20   assert (a['y'] == .25).all() and a['größe'].shape == ()\n\
                 \x20   assert zipfile.ZipFile(path).testzip() is None\n\
                 print('read by numpy', np.__version__)";
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, packing) in [("stored.npz", Packing::Stored), ("deflated.npz", Packing::Deflated)] {
        let mut writer = Writer::new(Vec::new(), packing);
        writer.array("x", &[2, 3], &DOUBLES.map(|x| x as f32)).unwrap();
        writer.array("y", &[40], &[0.25f64; 40]).unwrap();
        writer.array("größe", &[], &[f16::ONE]).unwrap();
        paths.push(folder.path().join(name));
        batchnorm_io::atomic::write_file(paths.last().unwrap(), |out| out.write_all(&writer.finish()?)).unwrap();
    }
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_string());
    let has_numpy =
        Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success());
    if !has_numpy {
        println!("SKIPPED: {python} has no numpy (PYTHON=/path/to/python names another)");
        return;
    }
    let output = Command::new(&python).args(["-c", check]).args(&paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
}
