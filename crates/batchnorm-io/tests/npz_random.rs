//! Random archives, the same on every machine: what is written is read back, and no bytes panic or are taken for others.

use batchnorm_io::npy::Numbers;
use batchnorm_io::npz::{Npz, Packing, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

mod random;

use random::check;

const SEED: u64 = 21;

fn packing(deflated: bool) -> Packing {
    if deflated { Packing::Deflated } else { Packing::Stored }
}

fn archive(arrays: &[Vec<u32>], packing: Packing) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), packing);
    for (number, values) in arrays.iter().enumerate() {
        let values: Vec<f32> = values.iter().map(|&bits| f32::from_bits(bits)).collect();
        writer.array(&format!("a{number}"), &[values.len()], &values).unwrap();
    }
    writer.finish().unwrap()
}

/// Reads everything there is; the arrays' bits, or that something was refused.
fn read(bytes: Vec<u8>) -> Option<Vec<(String, Vec<u32>)>> {
    let archive = Npz::parse_within(bytes, 1 << 20).ok()?;
    let names: Vec<String> = archive.names().map(str::to_string).collect();
    let mut arrays = Vec::new();
    for name in names {
        match archive.array(&name).ok()?.numbers {
            Numbers::F32(values) => arrays.push((name, values.iter().map(|x| x.to_bits()).collect())),
            _ => return None,
        }
    }
    Some(arrays)
}

#[test]
fn what_is_written_is_read_back() {
    check(SEED, 200, (vec(vec(any::<u32>(), 0..50), 0..6), any::<bool>()), |(arrays, deflated)| {
        let got = read(archive(&arrays, packing(deflated))).expect("a right archive");
        let expected: Vec<(String, Vec<u32>)> =
            arrays.into_iter().enumerate().map(|(number, values)| (format!("a{number}"), values)).collect();
        prop_assert_eq!(got, expected);
        Ok(())
    });
}

#[test]
fn changed_bytes_never_panic_and_never_change_an_array() {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    check(SEED, 3000, (vec(vec(any::<u32>(), 1..9), 1..4), any::<bool>(), changes), |(arrays, deflated, changes)| {
        let right = archive(&arrays, packing(deflated));
        let mut bytes = right.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // Times, versions and attributes say nothing about an array; names are what they are. All else is refused.
        if let Some(got) = read(bytes) {
            let mut values: Vec<Vec<u32>> = got.into_iter().map(|(_, values)| values).collect();
            prop_assert!(values.len() == arrays.len());
            values.sort();
            let mut expected = arrays;
            expected.sort();
            prop_assert_eq!(values, expected);
        }
        Ok(())
    });
}

#[test]
fn cut_and_joined_bytes_never_panic() {
    let bytes = archive(&[vec![1, 2, 3], vec![4; 40]], Packing::Deflated);
    check(SEED, 2000, (any::<prop::sample::Index>(), any::<prop::sample::Index>()), |(one, other)| {
        let (one, other) = (one.index(bytes.len()), other.index(bytes.len()));
        let _ = read([&bytes[..one], &bytes[other..]].concat());
        Ok(())
    });
    check(SEED, 1000, vec(any::<u8>(), 0..300), |noise| {
        prop_assert!(read(noise.clone()).is_none());
        // Behind a right beginning, and before a right end.
        let _ = read([&bytes[..bytes.len() / 2], &noise].concat());
        let _ = read([&noise, &bytes[bytes.len() / 2..]].concat());
        Ok(())
    });
}
