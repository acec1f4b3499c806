//! Any bytes as data of a user's, by each name that tells what they are, and as labels: nothing panics, hangs or takes more memory than a file
//! of this size should. Samples that are there can be read, together and alone, and are the same numbers.

#![no_main]

use std::path::Path;

use batchnorm_fuzz::{files, memory};
use batchnorm_model::samples::{MOST_LABEL, Samples};
use libfuzzer_sys::fuzz_target;

/// Samples that are read of many.
const SOME: usize = 4;
/// Three samples of one number, for labels.
const THREE: &[u8] = b"1.5\n2.5\n3.5\n";

fuzz_target!(init: memory::make_room_for_panics(), |bytes: &[u8]| {
    for name in ["x.npy", "x.npz", "x.csv", "x.tsv"] {
        memory::limited(bytes.len(), || {
            let path = files::put(name, bytes);
            // (A file of one number for each sample may be its own labels.)
            opens(&path, None);
            opens(&path, Some(&path));
        });
    }
    memory::limited(bytes.len(), || {
        let three = files::put("three.csv", THREE);
        for name in ["labels.npy", "labels.csv"] {
            opens(&three, Some(&files::put(name, bytes)));
        }
    });
});

fn opens(path: &Path, labels: Option<&Path>) {
    let samples = match Samples::open(path, None, labels) {
        Ok(samples) => samples,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(samples.labels().is_some(), labels.is_some());
    if let Some(labels) = samples.labels() {
        assert!(labels.len() == samples.len() && labels.iter().all(|label| *label <= MOST_LABEL), "{labels:?}");
    }
    assert!(!samples.inputs().is_empty() && samples.notes().iter().all(|note| !note.is_empty()));
    let count = samples.len();
    assert!(count > 0 && samples.read(count..count + 1).is_err());
    // Some at the beginning, the same one by one, and the last one.
    let some = count.min(SOME);
    let Ok(together) = samples.read(0..some) else {
        assert!(
            (0..some).any(|at| samples.read(at..at + 1).is_err()),
            "samples that can be read alone, and not together"
        );
        return;
    };
    let mut alone = vec![Vec::new(); together.len()];
    for at in 0..some {
        let one = samples.read(at..at + 1).expect("a sample that was read with others");
        alone.iter_mut().zip(one).for_each(|(all, one)| all.extend(one));
    }
    assert_eq!(together.len(), samples.inputs().len());
    for (input, (together, alone)) in samples.inputs().iter().zip(together.iter().zip(&alone)) {
        assert_eq!(together.len(), some * input.shape.iter().product::<usize>(), "{input:?}");
        assert!(together.iter().all(|number| number.is_finite()) && together == alone, "{input:?}");
    }
    let _ = samples.read(count - 1..count);
}
