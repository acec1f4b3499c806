//! What files say of their pictures beside what is decoded.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};

use batchnorm_io::picture::{Look, look, read};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures").join(name)
}

/// A JPEG with EXIF that says an orientation, in either order of bytes.
fn oriented(jpeg: &[u8], orientation: u16, little: bool) -> Vec<u8> {
    let two = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
    let four = |number: u32| if little { number.to_le_bytes() } else { number.to_be_bytes() };
    let mut exif = b"Exif\0\0".to_vec();
    exif.extend(if little { b"II" } else { b"MM" });
    exif.extend(two(42));
    exif.extend(four(8));
    exif.extend(two(2));
    // Another field in front: of its own type and place.
    for (tag, value) in [(0x0100, 7), (0x0112, orientation)] {
        exif.extend([two(tag), two(3)].concat());
        exif.extend(four(1));
        exif.extend([two(value), two(0)].concat());
    }
    exif.extend(four(0));
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend(b"\xff\xe1");
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

/// A chunk of a PNG without a right checksum, at which nobody looks before the pixels.
fn chunk(name: &[u8], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes(), name, content, &[0; 4]].concat()
}

#[test]
fn sizes_are_those_of_the_decoded_pictures() {
    for name in ["baseline", "progressive", "full_colours", "grey", "cmyk"] {
        let path = golden(&format!("{name}.jpg"));
        let (seen, picture) = (look(&path).unwrap(), read(&path).unwrap());
        let expected = Look { width: picture.width, height: picture.height, transparent: false, turned: false };
        assert_eq!(seen, expected, "{name}");
    }
}

#[test]
fn orientation_and_transparency_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let jpeg = std::fs::read(golden("baseline.jpg")).unwrap();
    for (orientation, turned) in [(0, false), (1, false), (2, true), (6, true), (8, true), (9, false)] {
        for little in [true, false] {
            std::fs::write(&path, oriented(&jpeg, orientation, little)).unwrap();
            let seen = look(&path).unwrap();
            assert_eq!((seen.turned, seen.width, seen.height), (turned, 53, 37), "{orientation} {little}");
        }
    }
    let png = |colour: u8, chunks: &[Vec<u8>]| {
        let header = [&30u32.to_be_bytes()[..], &20u32.to_be_bytes(), &[8, colour, 0, 0, 0]].concat();
        let begin = [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header)].concat();
        std::fs::write(&path, [begin, chunks.concat(), chunk(b"IDAT", b"")].concat()).unwrap();
        look(&path).unwrap()
    };
    let plain = Look { width: 30, height: 20, transparent: false, turned: false };
    assert_eq!(png(2, &[]), plain);
    assert_eq!(png(6, &[]), Look { transparent: true, ..plain });
    assert_eq!(png(2, &[chunk(b"tEXt", &[7; 100]), chunk(b"tRNS", &[0; 6])]), Look { transparent: true, ..plain });
    let exif = oriented(&jpeg, 3, true)[12..12 + 38].to_vec();
    assert_eq!(png(0, &[chunk(b"eXIf", &exif)]), Look { turned: true, ..plain });
}

/// Cut off or changed anywhere: an answer or an error, and the error is the reader's.
#[test]
fn damaged_files_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let jpeg = oriented(&std::fs::read(golden("baseline.jpg")).unwrap(), 6, false);
    for length in (0..jpeg.len()).step_by(13) {
        std::fs::write(&path, &jpeg[..length]).unwrap();
        if let Err(error) = look(&path) {
            assert_eq!(error.to_string(), read(&path).unwrap_err().to_string());
        }
    }
    for at in (0..200).step_by(3) {
        for value in [0, 1, 0x7f, 0xc0, 0xff] {
            let mut changed = jpeg.clone();
            changed[at] = value;
            std::fs::write(&path, &changed).unwrap();
            let _ = look(&path);
        }
    }
    let pipe = folder.path().join("none");
    assert!(look(&pipe).unwrap_err().to_string().contains("cannot be read"));
    assert!(look(folder.path()).unwrap_err().to_string().contains("expected a regular file"));
}
