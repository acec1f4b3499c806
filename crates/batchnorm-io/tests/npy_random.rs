//! Random input, the same on every machine: what is written is read back, and no bytes panic.

use batchnorm_io::npy::{self, Number, Numbers};
use half::f16;
use proptest::collection::vec;
use proptest::prelude::*;

mod random;

use random::check;

const SEED: u64 = 20;

fn bits(numbers: &Numbers) -> Vec<u64> {
    match numbers {
        Numbers::F16(x) => x.iter().map(|x| x.to_bits().into()).collect(),
        Numbers::F32(x) => x.iter().map(|x| x.to_bits().into()).collect(),
        Numbers::F64(x) => x.iter().map(|x| x.to_bits()).collect(),
        Numbers::Whole(_, x) => x.iter().map(|&x| x as u64).collect(),
    }
}

/// Shape, bits and type survive; `wrap` says what the reader should hold.
fn round_trip<T: Number>(shape: &[usize], values: Vec<T>, wrap: impl Fn(Vec<T>) -> Numbers) {
    let bytes = npy::encode(shape, &values).unwrap();
    let mut streamed = Vec::new();
    npy::write(&mut streamed, shape, &values).unwrap();
    assert_eq!(streamed, bytes);
    assert_eq!((bytes.len() - size_of_val(&values[..])) % 64, 0, "the numbers are aligned");

    let array = npy::parse(&bytes).unwrap();
    assert_eq!(array.shape, shape);
    assert!(!array.fortran_order);
    assert_eq!(array.numbers.number_type(), T::TYPE);
    assert_eq!(array.numbers.len(), values.len());
    assert_eq!(bits(&array.numbers), bits(&wrap(values)));
}

fn round_trip_all(shape: &[usize], mut next_bits: impl FnMut() -> u64) {
    let count = shape.iter().product();
    let mut random = || (0..count).map(|_| next_bits()).collect::<Vec<u64>>();
    let halves = random().iter().map(|&b| f16::from_bits(b as u16)).collect();
    round_trip(shape, halves, Numbers::F16);
    let singles = random().iter().map(|&b| f32::from_bits(b as u32)).collect();
    round_trip(shape, singles, Numbers::F32);
    let doubles = random().iter().map(|&b| f64::from_bits(b)).collect();
    round_trip(shape, doubles, Numbers::F64);
}

/// Steele and others' SplitMix64, so that bits need no crate.
fn split_mix(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[test]
fn what_is_written_is_read_back() {
    check(SEED, 200, (vec(0usize..7, 0..6), any::<u64>()), |(shape, seed)| {
        round_trip_all(&shape, split_mix(seed));
        Ok(())
    });
}

/// 64 KiB are converted at a time: both sides of that edge, for each size of number.
#[test]
fn lengths_at_the_edges_of_a_block() {
    for edge in [64 * 1024 / 8, 64 * 1024 / 4, 64 * 1024 / 2] {
        for count in [edge - 1, edge, edge + 1, 2 * edge + 1] {
            round_trip_all(&[count], split_mix(SEED));
        }
    }
}

#[test]
fn a_header_too_long_for_version_1_is_written_as_version_2() {
    let text_room = |axes: usize| "{'descr': '<f8', 'fortran_order': False, 'shape': (), }".len() + 3 * axes - 2 + 20;
    for axes in (21_700..21_850).chain([100_000]) {
        let bytes = npy::encode(&vec![1; axes], &[0.25f64]).unwrap();
        // Version 1 has 10 bytes before the text; newline and padding follow it.
        let padded = (10 + text_room(axes) + 1) / 64 * 64 + 64 - 10;
        assert_eq!(bytes[6], if padded <= 65_535 { 1 } else { 2 }, "{axes} axes");
        assert_eq!((bytes.len() - 8) % 64, 0);
        assert_eq!(npy::parse(&bytes).unwrap().shape.len(), axes);
    }
}

#[test]
fn random_bytes_do_not_panic() {
    check(SEED, 20_000, vec(any::<u8>(), 0..300), |bytes| {
        prop_assert!(npy::parse(&bytes).is_err());
        Ok(())
    });
    let prefixes = [&b"\x93NUMPY\x01\x00"[..], b"\x93NUMPY\x01\x00\x40\x00", b"\x93NUMPY\x03\x00\x40\x00\x00\x00{"];
    check(SEED, 20_000, (0..prefixes.len(), vec(any::<u8>(), 0..300)), |(prefix, bytes)| {
        prop_assert!(npy::parse(&[prefixes[prefix], &bytes].concat()).is_err());
        Ok(())
    });
}

/// Characters that mean something in a header, so that the parser is entered deeply.
#[test]
fn random_headers_do_not_panic() {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        ":",
        "'",
        "\"",
        " ",
        "\n",
        "\\",
        "L",
        "0",
        "7",
        "-",
        "'descr'",
        "'shape'",
        "'fortran_order'",
        "True",
        "False",
        "'<f4'",
        "'>f2'",
        "'|O'",
        "(2, 3)",
        "(6,)",
        "()",
        "é",
        "'descr': '<f4', ",
        "'fortran_order': False, ",
        "'shape': (6,), ",
        "99999999999999999999",
    ]);
    check(SEED, 50_000, vec(token, 0..12), |tokens| {
        let text = format!("{{{}", tokens.concat());
        let length = (text.len() as u32).to_le_bytes();
        let bytes = [b"\x93NUMPY\x03\x00", &length[..], text.as_bytes(), &[0; 24]].concat();
        if let Err(error) = npy::parse(&bytes) {
            prop_assert!(error.to_string().len() < 400);
        }
        Ok(())
    });
}

/// A good file with bytes changed: an error, or an array as large as its bytes.
#[test]
fn mutated_files_do_not_panic() {
    let good = npy::encode(&[2, 3], &[1.5f32; 6]).unwrap();
    let change = (0..good.len(), any::<u8>());
    check(SEED, 50_000, vec(change, 1..5), |changes| {
        let mut bytes = good.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(array) = npy::parse(&bytes) {
            prop_assert_eq!(array.shape.iter().product::<usize>(), array.numbers.len());
            prop_assert!(array.numbers.len() * array.numbers.number_type().size() <= bytes.len());
        }
        Ok(())
    });
}
