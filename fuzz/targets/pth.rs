//! Any bytes as a file of PyTorch: nothing panics, hangs or takes more memory than a file of this size should, and the values of each
//! tensor can be asked for. What is no archive is read as the pickle of one too, so that pickles are changed without checksums in the
//! way.

#![no_main]

use std::path::Path;

use batchnorm_fuzz::{files, memory};
use batchnorm_model::weights::{Element, read_pth};
use libfuzzer_sys::fuzz_target;

/// Bytes of the storage that is in the archive.
const STORAGE: [u8; 64] = [0x3f; 64];

fuzz_target!(init: memory::make_room_for_panics(), |bytes: &[u8]| {
    memory::limited(bytes.len(), || reads(&files::put("model.pth", bytes), bytes.len()));
    if !bytes.starts_with(b"PK") {
        let archive = archive(&[
            ("m/data.pkl", bytes),
            ("m/byteorder", b"little"),
            ("m/data/0", &STORAGE),
            ("m/version", b"3\n"),
        ]);
        memory::limited(archive.len(), || reads(&files::put("archive.pth", &archive), archive.len()));
    }
});

fn reads(path: &Path, size: usize) {
    let weights = match read_pth(path) {
        Ok(weights) => weights,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(weights.tensors.is_sorted_by(|one, other| one.name < other.name), "names in order, each once");
    for tensor in &weights.tensors {
        assert!(tensor.bytes() <= size as u64, "{}: {} bytes of {size}", tensor.name, tensor.bytes());
        if let Ok(bytes) = weights.bytes(tensor) {
            assert_eq!(bytes.len() as u64, tensor.bytes(), "{}", tensor.name);
        }
        match weights.numbers(tensor) {
            Ok(numbers) => {
                assert_eq!(numbers.to_vec().len(), tensor.shape.iter().product::<usize>(), "{}", tensor.name)
            }
            Err(why) => assert!(!why.is_empty()),
        }
        assert!(weights.count(tensor).is_none() || tensor.element == Element::I64, "{}", tensor.name);
    }
    for norm in weights.norms() {
        assert!([norm.mean, norm.variance].iter().all(|at| *at < weights.tensors.len()), "{norm:?}");
    }
}

/// An archive of stored members. A checksum of 0 says that there is none.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let [version, zero] = [20u16.to_le_bytes(), [0; 2]];
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in members {
        let size = (content.len() as u32).to_le_bytes();
        let place = (archive.len() as u32).to_le_bytes();
        // Flags, method, time, date and checksum are all 0.
        let common = [&version[..], &[0; 12], &size, &size, &(name.len() as u16).to_le_bytes(), &zero].concat();
        archive.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), content].concat());
        directory.extend([&b"PK\x01\x02"[..], &version, &common, &[0; 10], &place, name.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let [size, place] = [directory.len(), archive.len()].map(|number| (number as u32).to_le_bytes());
    archive.extend(directory);
    archive.extend([&b"PK\x05\x06"[..], &[0; 4], &count, &count, &size, &place, &zero].concat());
    archive
}
