//! Archives as `torch.save` writes them and as it does not: what is weighed is what is read.
#![cfg(feature = "pth")]
#![allow(missing_docs)]

use std::time::Instant;

use batchnorm_model::weights::{PthError, read_pth};

/// A member of an archive: its name, its bytes (none: those of the first member, again), and extra fields.
struct Member {
    name: String,
    bytes: Option<Vec<u8>>,
    extra: Vec<u8>,
}

fn member(name: &str, bytes: &[u8]) -> Member {
    Member { name: name.to_owned(), bytes: Some(bytes.to_vec()), extra: Vec::new() }
}

fn first_again(name: &str) -> Member {
    Member { name: name.to_owned(), bytes: None, extra: Vec::new() }
}

/// The last record's numbers where they are left to the record before it.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    Twice,
    LeftToTheLargeRecord,
}

/// An archive in torch.save's layout: bytes begin at multiples of 64, and both kinds of last records are there at any size.
fn archive(members: &[Member], numbers: Numbers) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for Member { name, bytes: own, extra } in members {
        let place = if own.is_some() { out.len() } else { 0 };
        let Some(bytes) = own.as_ref().or(members[0].bytes.as_ref()) else { panic!("the first member has bytes") };
        let sizes = [(bytes.len() as u32).to_le_bytes(); 2].concat();
        // Flags: a name in UTF-8, and the sizes again behind the bytes.
        let common = |extra: usize| {
            let lengths = [name.len() as u16, extra as u16].map(u16::to_le_bytes).concat();
            [&[0, 0, 0x08, 0x08][..], &[0; 10], &sizes, &lengths].concat()
        };
        directory
            .extend([&b"PK\x01\x02\0\0"[..], &common(extra.len()), &[0; 10], &(place as u32).to_le_bytes()].concat());
        directory.extend([name.as_bytes(), extra].concat());
        if own.is_some() {
            let padding = (64 - (out.len() + 30 + name.len() + 4) % 64) % 64;
            let padding = [&b"FB"[..], &(padding as u16).to_le_bytes(), &vec![b'Z'; padding]].concat();
            out.extend([&b"PK\x03\x04"[..], &common(padding.len()), name.as_bytes(), &padding, bytes].concat());
            out.extend([&b"PK\x07\x08"[..], &[0; 4], &sizes].concat());
        }
    }
    let (count, size, place) = (members.len() as u64, directory.len() as u64, out.len() as u64);
    out.extend(directory);
    let large = out.len() as u64;
    out.extend([&b"PK\x06\x06"[..], &44u64.to_le_bytes(), &[30, 3, 45, 0], &[0; 8]].concat());
    out.extend([count, count, size, place].map(u64::to_le_bytes).concat());
    out.extend([&b"PK\x06\x07\0\0\0\0"[..], &large.to_le_bytes(), &[1, 0, 0, 0]].concat());
    let (count, size, place) = match numbers {
        Numbers::Twice => (count as u16, size as u32, place as u32),
        Numbers::LeftToTheLargeRecord => (u16::MAX, u32::MAX, u32::MAX),
    };
    out.extend([&b"PK\x05\x06\0\0\0\0"[..], &[count; 2].map(u16::to_le_bytes).concat()].concat());
    out.extend([&size.to_le_bytes()[..], &place.to_le_bytes(), &[0; 2]].concat());
    out
}

/// A dictionary with a tensor of two numbers, by protocol 2.
fn pickle(name: char) -> Vec<u8> {
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ";
    let rest = b"K\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR";
    let begin = [&b"\x80\x02}X\x01\0\0\0"[..], &[name as u8], b"ctorch._utils\n_rebuild_tensor_v2\n("].concat();
    [&begin[..], storage, rest, b"s."].concat()
}

fn members(folder: &str) -> Vec<Member> {
    let numbers = [1.5f32, -2.0].map(f32::to_le_bytes).concat();
    vec![member(&format!("{folder}/data.pkl"), &pickle('a')), member(&format!("{folder}/data/0"), &numbers)]
}

/// The tensors' names with their numbers.
fn read(file: &[u8]) -> Result<Vec<(String, Vec<f64>)>, PthError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    std::fs::write(&path, file).unwrap();
    let weights = read_pth(&path)?;
    let numbers = |tensor| weights.numbers(tensor).unwrap().to_vec();
    Ok(weights.tensors.iter().map(|tensor| (tensor.name.clone(), numbers(tensor))).collect())
}

fn reads(file: &[u8]) {
    assert_eq!(read(file).unwrap(), [("a".to_owned(), vec![1.5, -2.0])]);
}

fn refused(file: &[u8], why: &str) {
    let said = read(file).expect_err(why).to_string();
    assert!(said.contains(why), "{said}");
}

#[test]
fn what_torch_save_writes_is_read_whatever_its_name() {
    // (With a first name of 30 bytes the first record of the directory is as long as what stands between the directory and the last record,
    // which some versions of zip take for an archive behind other bytes.)
    for length in 1..64 {
        for numbers in [Numbers::Twice, Numbers::LeftToTheLargeRecord] {
            reads(&archive(&members(&"m".repeat(length)), numbers));
        }
    }
}

#[test]
fn archives_with_two_directories_are_refused_wherever_the_other_one_is() {
    let one = archive(&members("m"), Numbers::Twice);
    let two = "two directories";
    // Behind another one, and behind one that only the last record's damage would lead to.
    refused(&[&one[..], &one].concat(), two);
    let at = one.len() - 22;
    for damage in [4, 6, 8, 16] {
        let mut damaged = one.clone();
        damaged[at + damage] ^= 1;
        let said = read(&[&one[..], &damaged].concat()).unwrap_err();
        assert!(matches!(said, PthError::Archive(_)), "{damage}: {said}");
        assert!(read(&damaged).is_err(), "{damage}");
    }
    // In a member, near the end.
    let mut more = members("m");
    more.push(member("m/version", &one));
    refused(&archive(&more, Numbers::Twice), two);
    // In the last record's comment, and before its directory.
    let mut outer = archive(&members("n"), Numbers::Twice);
    let end = outer.len();
    outer[end - 2..].copy_from_slice(&(one.len() as u16).to_le_bytes());
    refused(&[&outer[..], &one].concat(), two);
    outer[end - 2..].copy_from_slice(&[0; 2]);
    refused(&[&one[..200], &outer].concat(), "whole archive");
}

/// What zip goes by, and what is looked at here, are the same numbers: a change of any of them is seen.
#[test]
fn no_byte_of_the_last_records_can_change() {
    for numbers in [Numbers::Twice, Numbers::LeftToTheLargeRecord] {
        let file = archive(&members("m"), numbers);
        let from = file.len() - 98;
        // Nobody goes by the versions that the large record has, by its numbers where the last one has its own, and by those of the last
        // one where one of the others leaves all to the large record.
        let unused = |at: usize| match numbers {
            Numbers::Twice => (12..16).contains(&at) || (40..56).contains(&at),
            Numbers::LeftToTheLargeRecord => (12..16).contains(&at) || (88..96).contains(&at),
        };
        for at in 0..98 {
            let mut changed = file.clone();
            changed[from + at] ^= 1;
            match read(&changed) {
                Ok(_) => assert!(unused(at), "{at}"),
                Err(error) => assert!(!unused(at) && matches!(error, PthError::Archive(_)), "{at}: {error}"),
            }
        }
    }
}

#[test]
fn members_that_share_bytes_or_a_name_are_refused() {
    let mut twice = members("m");
    twice.push(member("m/data.pkl", &pickle('b')));
    refused(&archive(&twice, Numbers::Twice), "two members have one name");
    // Once under another name, which is looked at too where it ends alike.
    for name in ["m/more/data.pkl", "m/more"] {
        let mut shared = members("m");
        shared.push(first_again(name));
        refused(&archive(&shared, Numbers::Twice), "lie over each other");
    }
    // Half a megabyte of Nones that ten thousand names mean.
    let nones = [&b"\x80\x02("[..], &b"N0".repeat(250_000), b"t."].concat();
    let mut many = vec![member("m/data.pkl", &nones)];
    many.extend((0..10_000).map(|at| first_again(&format!("m/{at}/data.pkl"))));
    let file = archive(&many, Numbers::Twice);
    let start = Instant::now();
    refused(&file, "lie over each other");
    // (To read each of them takes more than ten seconds, optimised.)
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn directories_that_take_more_than_the_file_are_refused_before_they_are_read() {
    let mut many = members("m");
    many.extend((0..60_000).map(|at| first_again(&format!("{at}"))));
    assert!(matches!(read(&archive(&many, Numbers::Twice)), Err(PthError::Objects { .. })));
    // Extra fields of no bytes, each a value of its own in memory.
    let mut extra = members("m");
    let fields = b"ab\0\0".repeat(10_000);
    extra.extend((0..200).map(|at| Member { extra: fields.clone(), ..first_again(&format!("{at}")) }));
    assert!(matches!(read(&archive(&extra, Numbers::Twice)), Err(PthError::Objects { .. })));
    // A directory of more members than are there, and of fewer.
    for count in [1u16, 3] {
        let mut file = archive(&members("m"), Numbers::Twice);
        let end = file.len() - 22;
        file[end + 8..end + 12].copy_from_slice(&[count; 2].map(u16::to_le_bytes).concat());
        refused(&file, "whole archive");
    }
}
