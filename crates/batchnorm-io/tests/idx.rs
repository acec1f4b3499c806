//! IDX files: what is read, and what is said of files that are none.

#![allow(missing_docs)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use batchnorm_io::idx::Idx;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

const MOST: u64 = 1 << 20;

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn save(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    }
}

/// The bytes of an array.
fn idx(shape: &[u32], numbers: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|length| bytes.extend(length.to_be_bytes()));
    bytes.extend(numbers);
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn refusal(name: &str, bytes: &[u8], most: u64) -> String {
    let folder = Folder::new();
    let text = Idx::open(&folder.save(name, bytes), most).map(drop).expect_err(name).to_string();
    assert!(text.contains(name) && !text.contains('\n'), "{text}");
    text
}

#[test]
fn items_come_from_disk_and_from_packed_files_alike() {
    let numbers: Vec<u8> = (0..120).collect();
    let folder = Folder::new();
    let plain = idx(&[5, 4, 6], &numbers);
    for path in [folder.save("a-idx3-ubyte", &plain), folder.save("a-idx3-ubyte.gz", &packed(&plain))] {
        let mut array = Idx::open(&path, MOST).expect("an array");
        assert_eq!((array.shape(), array.items(), array.item_bytes()), (&[5usize, 4, 6][..], 5, 24));
        let mut two = [0; 48];
        array.read(3, &mut two).expect("items");
        assert_eq!(two[..], numbers[72..]);
        array.read(0, &mut two).expect("items");
        assert_eq!(two[..], numbers[..48]);
        assert!(array.read(5, &mut []).is_ok(), "none, behind the last");
        let error = array.read(4, &mut two).expect_err("one item is left").to_string();
        assert!(error.contains("items before 5, got 4 and 2"), "{error}");
        assert!(array.read(0, &mut two[..23]).is_err(), "no whole item");
    }
    let labels = folder.save("labels", &idx(&[3], &[7, 1, 0]));
    let mut labels = Idx::open(&labels, MOST).expect("an array");
    let mut all = [0; 3];
    labels.read(0, &mut all).expect("items");
    assert_eq!((all, labels.item_bytes()), ([7, 1, 0], 1));
    let empty = Idx::open(&folder.save("empty", &idx(&[0, 28, 28], &[])), MOST).expect("an array");
    assert_eq!(empty.items(), 0);
}

#[test]
fn two_packed_members_are_one_file() {
    let bytes = idx(&[4], &[1, 2, 3, 4]);
    let folder = Folder::new();
    let path = folder.save("members.gz", &[packed(&bytes[..6]), packed(&bytes[6..])].concat());
    assert_eq!(Idx::open(&path, MOST).expect("an array").items(), 4);
}

#[test]
fn what_is_no_idx_file_is_said_to_be_none() {
    for (bytes, says) in [
        (&b"x,y\n1,2\n"[..], "begins with two zero bytes"),
        (&[], "got 0 bytes in all"),
        (&[0, 0, 8], "got 3 bytes in all"),
        (&[0, 0, 0x0d, 1, 0, 0, 0, 0], "got type 0x0d"),
        (&[0, 0, 0x77, 1, 0, 0, 0, 0], "begins with two zero bytes"),
        (&[0, 0, 8, 0], "1 to 8 axes, got 0"),
        (&[0, 0, 8, 200], "1 to 8 axes, got 200"),
        (&[0, 0, 8, 2, 0, 0, 0, 1, 0, 0], "ends in its header"),
        (&idx(&[u32::MAX; 3], &[]), "its header is broken"),
        (&idx(&[1 << 30, 1 << 30], &[]), "is cut off"),
        (&idx(&[2, 3], &[1, 2, 3, 4, 5]), "shape [2, 3], 6 bytes, and 5 follow it; it is cut off"),
        (&idx(&[2, 3], &[0; 7]), "shape [2, 3], 6 bytes, and 7 follow it; it is broken"),
    ] {
        let text = refusal("file", bytes, MOST);
        assert!(text.contains(says), "{text}");
    }
    let folder = Folder::new();
    assert!(Idx::open(folder.0.path(), MOST).expect_err("a folder").to_string().contains("expected a regular file"));
    assert!(Idx::open(&folder.0.path().join("none"), MOST).is_err());
}

/// What a header claims costs no memory before it is there, and what is packed no more than is allowed.
#[test]
fn packed_files_are_no_bombs() {
    let text = refusal("lies.gz", &packed(&idx(&[60_000, 28, 28], &[0; 100])), 1 << 40);
    assert!(text.contains("and 100 follow it; it is cut off"), "{text}");
    let text = refusal("large.gz", &packed(&idx(&[2000], &[0; 2000])), 1999);
    assert!(text.contains("at most 1999 bytes, got one of 2000") && text.contains("gunzip"), "{text}");
    let text = refusal("more.gz", &packed(&idx(&[10], &vec![0; 1 << 22])), MOST);
    assert!(text.contains("10 bytes, and 11 follow it"), "{text}");
    let whole = packed(&idx(&[1000], &[3; 1000]));
    assert!(refusal("cut.gz", &whole[..whole.len() / 2], MOST).contains("gzip cannot unpack it"));
    assert!(refusal("begin.gz", &whole[..2], MOST).contains("gzip cannot unpack it"));
    let mut spoilt = whole.clone();
    let last = spoilt.len() - 6; // in the checksum
    spoilt[last] ^= 1;
    assert!(refusal("sum.gz", &spoilt, MOST).contains("gzip cannot unpack it"));
}
