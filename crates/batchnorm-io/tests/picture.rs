//! PNG pictures of every kind, made here byte by byte, and everything that can be wrong with one.

#![allow(missing_docs)]

use std::io::Write;

use batchnorm_io::picture::{Defect, Format, Picture, decode, read};
use flate2::Crc;
use flate2::write::ZlibEncoder;

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [&name[..], content].concat();
    let mut crc = Crc::new();
    crc.update(&named);
    [&(content.len() as u32).to_be_bytes()[..], &named, &crc.sum().to_be_bytes()].concat()
}

fn header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat())
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A picture of 2 x 2 from its rows, each without its filter byte, and chunks before the pixels.
fn png(depth: u8, colour: u8, before: &[Vec<u8>], rows: [&[u8]; 2]) -> Vec<u8> {
    let raw: Vec<u8> = rows.iter().flat_map(|row| [&[0], *row].concat()).collect();
    let data = chunk(b"IDAT", &zipped(&raw));
    [b"\x89PNG\r\n\x1a\n".to_vec(), header(2, 2, depth, colour), before.concat(), data, chunk(b"IEND", &[])].concat()
}

fn pixels(bytes: &[u8]) -> Vec<[u16; 4]> {
    let Picture { width, height, pixels } = decode(bytes).unwrap();
    assert_eq!((width, height), (2, 2));
    pixels
}

const FULL: u16 = u16::MAX;

#[test]
fn every_kind_of_pixel_is_read() {
    let grey = |value: u16| [value, value, value, FULL];
    assert_eq!(pixels(&png(1, 0, &[], [&[0b0100_0000], &[0b1000_0000]])), [grey(0), grey(FULL), grey(FULL), grey(0)]);
    assert_eq!(pixels(&png(4, 0, &[], [&[0x0f], &[0x5a]])), [0, 15, 5, 10].map(|v| grey(v * (FULL / 15))));
    assert_eq!(pixels(&png(8, 0, &[], [&[0, 1], &[254, 255]])), [0, 1, 254, 255].map(|v| grey(v * 257)));
    assert_eq!(
        pixels(&png(16, 0, &[], [&[0x12, 0x34, 0, 1], &[0xff, 0xff, 0x80, 0]])),
        [0x1234, 1, FULL, 0x8000].map(grey)
    );
    let rgb = png(8, 2, &[], [&[255, 0, 0, 0, 255, 0], &[0, 0, 255, 1, 2, 3]]);
    assert_eq!(pixels(&rgb), [[FULL, 0, 0, FULL], [0, FULL, 0, FULL], [0, 0, FULL, FULL], [257, 514, 771, FULL]]);
    let with_alpha = png(8, 4, &[], [&[255, 0, 0, 255], &[1, 2, 3, 4]]);
    assert_eq!(pixels(&with_alpha)[..2], [[FULL, FULL, FULL, 0], [0, 0, 0, FULL]]);
    let rgba = png(16, 6, &[], [&[1; 16], &[2; 16]]);
    assert_eq!(pixels(&rgba)[3], [0x0202; 4]);
    let palette = chunk(b"PLTE", &[10, 20, 30, 40, 50, 60]);
    let indexed = png(8, 3, std::slice::from_ref(&palette), [&[0, 1], &[1, 0]]);
    assert_eq!(pixels(&indexed)[1], [40 * 257, 50 * 257, 60 * 257, FULL]);
    let clear = png(1, 3, &[palette, chunk(b"tRNS", &[0])], [&[0b0100_0000], &[0]]);
    assert_eq!(pixels(&clear)[..2].iter().map(|pixel| pixel[3]).collect::<Vec<_>>(), [0, FULL]);
}

#[test]
fn chunks_that_hold_no_pixels_are_passed_over() {
    // A profile that would inflate to 100 MB.
    let bomb = [&b"name\0\0"[..], &zipped(&vec![0; 100_000_000])].concat();
    let before = [chunk(b"iCCP", &bomb), chunk(b"zTXt", &bomb), chunk(b"eXIf", b"x"), chunk(b"gAMA", &[])];
    assert_eq!(pixels(&png(8, 0, &before, [&[0, 255], &[0, 0]]))[1], [FULL; 4]);
}

#[test]
fn every_cut_is_an_error() {
    let whole = png(8, 0, &[], [&[0, 255], &[0, 0]]);
    assert!(decode(&whole).is_ok());
    assert!(matches!(decode(&[]), Err(Defect::Signature)));
    for length in 1..whole.len() {
        match decode(&whole[..length]) {
            Err(Defect::Truncated(Format::Png, at)) => assert_eq!(at, length),
            other => panic!("{length}: {other:?}"),
        }
    }
    // Cut inside the compressed pixels, with everything around them whole.
    let raw = zipped(&[0, 1, 2, 0, 3, 4]);
    for length in 0..raw.len() {
        let data = chunk(b"IDAT", &raw[..length]);
        let bytes = [&b"\x89PNG\r\n\x1a\n"[..], &header(2, 2, 8, 0), &data, &chunk(b"IEND", &[])].concat();
        assert!(matches!(decode(&bytes), Err(Defect::Broken(..))), "{length}");
    }
}

#[test]
fn sizes_are_checked_before_anything_is_decoded() {
    for (width, height) in [(u32::MAX, u32::MAX), (100_000, 100_000), (1 << 24, 2), (4097, 4096)] {
        let data = chunk(b"IDAT", &zipped(&[0]));
        let bytes = [&b"\x89PNG\r\n\x1a\n"[..], &header(width, height, 16, 6), &data, &chunk(b"IEND", &[])].concat();
        let error = decode(&bytes).unwrap_err();
        assert!(matches!(error, Defect::Size(_)), "{error}");
        assert!(error.to_string().contains(&format!("{width} x {height}")), "{error}");
    }
    // Few pixels, and far too much behind them.
    let data = chunk(b"IDAT", &zipped(&vec![0; 100_000_000]));
    let bytes = [&b"\x89PNG\r\n\x1a\n"[..], &header(2, 2, 8, 0), &data, &chunk(b"IEND", &[])].concat();
    assert!(matches!(decode(&bytes), Err(Defect::Broken(..))));
}

#[test]
fn files_that_are_no_pictures_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.png");
    std::fs::write(&path, "<html>").unwrap();
    let message = read(&path).unwrap_err().to_string();
    assert!(message.contains("page.png") && message.contains("expected a PNG"), "{message}");
    assert!(read(folder.path()).unwrap_err().to_string().contains("expected a regular file, got a folder"));
    assert!(read(&folder.path().join("none.png")).unwrap_err().to_string().contains("none.png"));
}

#[test]
fn no_damage_makes_the_reader_panic_or_speak_two_lines() {
    let palette = [chunk(b"PLTE", &[10, 20, 30, 40, 50, 60]), chunk(b"tRNS", &[0])];
    let pictures = [
        png(8, 3, &palette, [&[0, 1], &[1, 0]]),
        png(16, 6, &[], [&[1; 16], &[2; 16]]),
        png(2, 0, &[], [&[0x1b], &[0xe4]]),
    ];
    // Numerical Recipes' generator, seed 1.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = pictures[random(3)].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        // Every other time with checksums that fit the damage, so that it gets further in.
        if random(2) == 0 {
            mend_checksums(&mut bytes);
        }
        match decode(&bytes) {
            Ok(picture) => {
                read += 1;
                assert_eq!(picture.pixels.len(), picture.width * picture.height);
            }
            Err(defect) => {
                refused += 1;
                assert_eq!(defect.to_string().lines().count(), 1, "{defect}");
            }
        }
    }
    println!("seed 1: {read} read, {refused} refused");
    assert!(read > 100 && refused > 1000);
}

fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while at + 12 <= bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if length > bytes.len() - at - 12 {
            return;
        }
        let mut crc = Crc::new();
        crc.update(&bytes[at + 4..at + 8 + length]);
        bytes[at + 8 + length..at + 12 + length].copy_from_slice(&crc.sum().to_be_bytes());
        at += 12 + length;
    }
}
