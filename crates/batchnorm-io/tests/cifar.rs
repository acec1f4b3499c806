//! CIFAR's binary batches.

#![allow(missing_docs)]

use std::fs;

use batchnorm_io::cifar::{Batch, PICTURE_BYTES};

#[test]
fn records_are_read_from_any_place() {
    let folder = tempfile::tempdir().expect("a folder");
    for labels in [1, 2] {
        let record = |number: u8| [vec![number; labels], vec![10 * number; PICTURE_BYTES]].concat();
        let path = folder.path().join(format!("data_batch_{labels}.bin"));
        fs::write(&path, (0..4).flat_map(record).collect::<Vec<u8>>()).expect("written");
        let mut batch = Batch::open(&path, labels).expect("a batch");
        assert_eq!((batch.records(), batch.record_bytes()), (4, labels + PICTURE_BYTES));
        let mut two = vec![0; 2 * batch.record_bytes()];
        batch.read(2, &mut two).expect("records");
        assert_eq!(two, [record(2), record(3)].concat());
        let error = batch.read(3, &mut two).expect_err("one record is left").to_string();
        assert!(error.contains("records before 4, got 3 and 2") && error.contains("data_batch"), "{error}");
        let other = Batch::open(&path, 3 - labels).map(drop).expect_err("records of another length").to_string();
        assert!(other.contains("got a file of") && other.contains("not the one for Python"), "{other}");
    }
    let path = folder.path().join("none.bin");
    assert!(Batch::open(&path, 1).is_err());
    fs::write(&path, []).expect("written");
    assert!(Batch::open(&path, 1).map(drop).expect_err("nothing in it").to_string().contains("a file of 0 bytes"));
    assert!(Batch::open(folder.path(), 1).map(drop).expect_err("a folder").to_string().contains("regular file"));
}
