//! Data sets as they are published, where `scripts/data` has put them: what is known of them is what is read.

#![allow(missing_docs)]

use std::path::PathBuf;

use batchnorm_io::cifar::{Batch, PICTURE_BYTES};
use batchnorm_io::idx::Idx;

/// The folder of a set; a line on stderr where it is not there.
fn set(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let folder = home.join(".cache/batchnorm/data").join(name);
    let there = folder.is_dir();
    if !there {
        eprintln!("SKIPPED: {name} is not in {}; `scripts/data {name}` fetches it", folder.display());
    }
    there.then_some(folder)
}

fn all(mut array: Idx) -> Vec<u8> {
    let mut bytes = vec![0; array.items() * array.item_bytes()];
    array.read(0, &mut bytes).expect("all of it");
    bytes
}

/// Mean and standard deviation, of full 1.
fn moments(bytes: &[u8]) -> [f64; 2] {
    let n = bytes.len() as f64;
    let mean = bytes.iter().map(|&byte| f64::from(byte)).sum::<f64>() / n;
    let squares = bytes.iter().map(|&byte| (f64::from(byte) - mean).powi(2)).sum::<f64>() / n;
    [mean / 255.0, squares.sqrt() / 255.0]
}

fn near(got: [f64; 2], expected: [f64; 2]) {
    assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-4), "{got:?}");
}

#[test]
fn mnist_and_fashion_mnist() {
    // Mean and deviation of the training pictures, as they are quoted everywhere.
    for (name, end, expected) in [("mnist", "", [0.1307, 0.3081]), ("fashion-mnist", ".gz", [0.2860, 0.3530])] {
        let Some(folder) = set(name) else { continue };
        let open = |file: &str| Idx::open(&folder.join(format!("{file}{end}")), 1 << 26).expect(file);
        let (pictures, labels) = (open("train-images-idx3-ubyte"), open("train-labels-idx1-ubyte"));
        assert_eq!((pictures.shape(), labels.shape()), (&[60_000, 28, 28][..], &[60_000][..]), "{name}");
        near(moments(&all(pictures)), expected);
        let mut counts = [0; 10];
        all(labels).iter().for_each(|&label| counts[usize::from(label)] += 1);
        assert!(counts.iter().all(|&count| (5000..7000).contains(&count)), "{name}: {counts:?}");
        assert_eq!(open("t10k-images-idx3-ubyte").items(), 10_000);
    }
}

#[test]
fn cifar10() {
    let Some(folder) = set("cifar10") else { return };
    let (mut pixels, mut counts) = (Vec::new(), [0; 10]);
    for number in 1..=5 {
        let mut batch = Batch::open(&folder.join(format!("data_batch_{number}.bin")), 1).expect("a batch");
        assert_eq!(batch.records(), 10_000);
        let mut records = vec![0; batch.records() * batch.record_bytes()];
        batch.read(0, &mut records).expect("all of it");
        for record in records.chunks(1 + PICTURE_BYTES) {
            counts[usize::from(record[0])] += 1;
            pixels.extend(&record[1..]);
        }
    }
    assert_eq!(counts, [5000; 10]);
    // Red, green and blue.
    for (colour, expected) in [[0.4914, 0.2470], [0.4822, 0.2435], [0.4465, 0.2616]].into_iter().enumerate() {
        let plane: Vec<u8> = pixels.chunks(1024).skip(colour).step_by(3).flatten().copied().collect();
        near(moments(&plane), expected);
    }
}
