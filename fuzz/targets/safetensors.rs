//! Any bytes as a safetensors file: nothing panics or takes more memory than a file of this size should. What we accept the crate
//! `safetensors` accepts too, with the same tensors, and the other way round; both but for the differences that are named below. A copy
//! that we write has the same tensors, bytes and notes.

#![no_main]

use std::collections::HashMap;

use batchnorm_fuzz::{files, memory, mutate};
use batchnorm_model::numbers::Precision;
use batchnorm_model::weights::{
    Element, HeaderError, SafetensorsError, Weights, read_header, read_safetensors, write_safetensors,
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use safetensors::{Dtype, SafeTensors};

/// Bytes of the length that stands before the header.
const BEFORE: usize = 8;

fuzz_target!(init: memory::make_room_for_panics(), |bytes: &[u8]| {
    memory::limited(bytes.len(), || reads(bytes))
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate_safetensors(data, size, max_size, seed)
});

fn reads(bytes: &[u8]) {
    let theirs = SafeTensors::deserialize(bytes);
    let ours = match read_safetensors(&files::put("model.safetensors", bytes)) {
        Ok(weights) => weights,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(theirs.is_err() || is_ours_alone(&error), "{error}, of a file that the crate accepts");
            return;
        }
    };
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(error) => {
            assert!(has_what_is_skipped(header(bytes)), "{error} says the crate, and we accept it");
            return;
        }
    };
    are_the_same(&ours, &theirs);
    is_as_its_header_says(&ours, bytes);
    has_a_copy(&ours, bytes);
    // Batch norms among them, and whether they can be read.
    for norm in ours.norms() {
        assert!([norm.mean, norm.variance].iter().all(|at| *at < ours.tensors.len()), "{norm:?}");
        let _ = ours.numbers(&ours.tensors[norm.mean]);
        let _ = norm.count.map(|at| ours.count(&ours.tensors[at]));
    }
}

/// What we refuse and the crate does not: a name twice, of which it takes the last one; a header that begins with white space, as the
/// format forbids; one that would take more memory than the file.
fn is_ours_alone(error: &SafetensorsError) -> bool {
    match error {
        SafetensorsError::Header(HeaderError::Json(words)) => words.contains("twice"),
        SafetensorsError::Header(error) => matches!(error, HeaderError::Begin { .. } | HeaderError::Parts(_)),
        _ => false,
    }
}

/// What the crate refuses and we do not: in the values of keys that neither knows it looks at numbers and texts, and we skip them. It is
/// UTF-8 all the same, but no JSON that can be kept: a number beyond f64, half of a surrogate pair.
fn has_what_is_skipped(header: &[u8]) -> bool {
    str::from_utf8(header).is_ok_and(|text| serde_json::from_str::<serde_json::Value>(text).is_err())
}

/// The header of a file that reads.
fn header(file: &[u8]) -> &[u8] {
    let (length, rest) = file.split_first_chunk::<BEFORE>().expect("a length");
    &rest[..u64::from_le_bytes(*length) as usize]
}

fn are_the_same(ours: &Weights, theirs: &SafeTensors) {
    assert_eq!(ours.tensors.len(), theirs.len(), "tensors");
    for tensor in &ours.tensors {
        let same = theirs.tensor(&tensor.name).expect("a tensor of this name");
        assert_eq!(tensor.shape, same.shape(), "{}", tensor.name);
        assert_eq!(tensor.element, element(same.dtype()), "{}", tensor.name);
        assert_eq!(tensor.bytes(), same.data().len() as u64, "{}", tensor.name);
        assert_eq!(ours.bytes(tensor).as_deref(), Ok(same.data()), "{}", tensor.name);
        match ours.numbers(tensor) {
            Ok(numbers) => assert_eq!(numbers.len(), same.shape().iter().product::<usize>(), "{}", tensor.name),
            Err(_) => assert!(!matches!(tensor.element, Element::Floats(_)), "{}", tensor.name),
        }
    }
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F64 => Element::Floats(Precision::F64),
        Dtype::F32 => Element::Floats(Precision::F32),
        Dtype::F16 => Element::Floats(Precision::F16),
        Dtype::BF16 => Element::Floats(Precision::Bf16),
        Dtype::I64 => Element::I64,
        other => Element::Other(other.to_string()),
    }
}

/// The header alone has the same tensors as the file.
fn is_as_its_header_says(ours: &Weights, bytes: &[u8]) {
    let behind = bytes.len() - BEFORE - header(bytes).len();
    let alone = read_header(header(bytes), behind as u64).expect("the header of a file that reads");
    assert_eq!(format!("{:?} {:?}", alone.tensors, alone.metadata), format!("{:?} {:?}", ours.tensors, ours.metadata));
}

fn has_a_copy(ours: &Weights, bytes: &[u8]) {
    let names: Vec<Option<String>> = ours.tensors.iter().map(|tensor| Some(tensor.name.clone())).collect();
    let mut copy = Vec::new();
    write_safetensors(ours, &names, &vec![None; names.len()], &[], &mut copy).expect("a copy");
    let theirs = SafeTensors::deserialize(&copy).unwrap_or_else(|error| panic!("the crate refuses our copy: {error}"));
    are_the_same(ours, &theirs);
    let notes = |file: &[u8]| -> HashMap<String, String> {
        let (_, metadata) = SafeTensors::read_metadata(file).expect("a file that was accepted");
        metadata.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect()
    };
    assert_eq!(notes(&copy), notes(bytes));
    let again = read_safetensors(&files::put("copy.safetensors", &copy)).expect("our own copy");
    let order = |weights: &Weights| weights.tensors.iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>();
    assert_eq!(order(&again), order(ours));
    assert_eq!(again.metadata, ours.metadata);
}
