//! JPEG pictures beside PIL's reading of them (`golden/pictures/make.py`), damaged ones, and pictures of another size.

#![allow(missing_docs)]

use std::path::PathBuf;

use batchnorm_io::npz::Npz;
use batchnorm_io::picture::{Defect, Format, MOST_PIXELS, Picture, decode, read};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures").join(name)
}

/// An array of red, green and blue bytes, with its height and width.
fn seen(name: &str) -> (Vec<f64>, usize, usize) {
    let array = Npz::open(&golden("seen.npz")).and_then(|archive| archive.array(name)).expect("an array");
    let &[height, width, 3] = &array.shape[..] else { panic!("{:?}", array.shape) };
    (array.numbers.to_f64(), height, width)
}

/// A picture's colours, 255 for full.
fn colours(picture: &Picture) -> Vec<f64> {
    picture.pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).map(|value| f64::from(value) / 257.0).collect()
}

fn farthest(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
}

#[test]
fn every_kind_is_what_pil_sees() {
    for name in ["baseline", "progressive", "full_colours", "grey", "cmyk"] {
        let picture = read(&golden(&format!("{name}.jpg"))).expect(name);
        let (expected, height, width) = seen(name);
        assert_eq!((picture.height, picture.width), (height, width));
        assert!(picture.pixels.iter().all(|pixel| pixel[3] == u16::MAX), "{name}: nothing is clear");
        // Decoders round the cosine transform and the halved colours as they like: a few steps apart at most.
        let worst = farthest(&colours(&picture), &expected);
        println!("{name}: {worst} of 255");
        assert!(worst <= 4.0, "{name}: {worst}");
    }
}

#[test]
fn every_cut_is_an_error() {
    for name in ["baseline.jpg", "progressive.jpg"] {
        let whole = std::fs::read(golden(name)).expect("a file");
        for length in 1..whole.len() {
            let Err(error) = decode(&whole[..length]) else { panic!("{name} is read from {length} bytes") };
            let truncated = matches!(error, Defect::Truncated(Format::Jpeg, at) if at == length);
            assert!(truncated || matches!(error, Defect::Broken(Format::Jpeg, _)), "{name} {length}: {error}");
            assert!(length > 2 || truncated, "{name} {length}: {error}");
        }
    }
}

#[test]
fn sizes_are_looked_at_before_anything_is_decoded() {
    let mut bytes = std::fs::read(golden("baseline.jpg")).expect("a file");
    let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a frame");
    for (height, width) in [(65_535u16, 65_535u16), (4097, 4096)] {
        bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        let error = decode(&bytes).map(drop).expect_err("too large").to_string();
        assert!(
            error.contains(&format!("at most {MOST_PIXELS}")) && error.contains(&format!("{width} x {height}")),
            "{error}"
        );
    }
}

#[test]
fn no_damage_makes_the_reader_panic_or_speak_two_lines() {
    let pictures = ["baseline.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"];
    let pictures = pictures.map(|name| std::fs::read(golden(name)).expect("a file"));
    // Numerical Recipes' generator, seed 1.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = pictures[random(4)].clone();
        // Half of it in the tables in front, where all is decided.
        for _ in 0..=random(4) {
            let within = if random(2) == 0 { bytes.len() } else { bytes.len().min(700) };
            bytes[random(within)] = random(256) as u8;
        }
        match decode(&bytes) {
            Ok(picture) => {
                whole += 1;
                assert_eq!(picture.pixels.len(), picture.width * picture.height);
            }
            Err(defect) => {
                refused += 1;
                assert_eq!(defect.to_string().lines().count(), 1, "{defect}");
            }
        }
    }
    println!("seed 1: {whole} read, {refused} refused");
    assert!(whole > 1000 && refused > 1000);
}

fn source() -> Picture {
    let (values, height, width) = seen("source");
    let wide = |value: f64| value as u16 * 257;
    let pixels = values.as_chunks().0.iter().map(|&[r, g, b]| [wide(r), wide(g), wide(b), u16::MAX]).collect();
    Picture { width, height, pixels }
}

#[test]
fn another_size_is_pils_bilinear_one() {
    let source = source();
    for (width, height) in [(20, 10), (8, 8), (80, 60), (53, 9)] {
        let resized = source.resized(width, height);
        let (expected, ..) = seen(&format!("resized_{width}x{height}"));
        assert_eq!((resized.width, resized.height, resized.pixels.len()), (width, height, width * height));
        // PIL rounds to 8 bits between the two directions and at the end.
        let worst = farthest(&colours(&resized), &expected);
        println!("{width}x{height}: {worst} of 255");
        assert!(worst <= 1.0, "{width}x{height}: {worst}");
    }
    assert_eq!(source.resized(53, 37), source);
    let one = Picture { width: 1, height: 1, pixels: vec![[1, 2, 3, 4]] };
    assert_eq!(one.resized(2, 2).pixels.len(), 4);
}

/// What is clear has no say in the colour.
#[test]
fn colours_are_weighed_by_alpha() {
    let pixels = vec![[u16::MAX, 0, 0, u16::MAX], [0, u16::MAX, 0, 0]];
    let [r, g, _, a] = Picture { width: 2, height: 1, pixels }.resized(1, 1).pixels[0];
    assert!(r > 65_000 && g < 500 && a.abs_diff(32_768) < 2, "{r} {g} {a}");
}
