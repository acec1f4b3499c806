//! `batchnorm predict` as a person calls it: the embedded digits, pictures of every kind, folders, and bad files.

#![cfg(feature = "train")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use batchnorm_lab::data::Examples;
use batchnorm_lab::digits::{Digits, PIXELS};
use serde_json::Value;
use support::{done, folder, png, refused, run, text};

/// A network trained once by the program itself, with its defaults.
fn model() -> &'static Path {
    static MODEL: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MODEL.get_or_init(|| {
        let folder = folder();
        done(&run(folder.path(), &["train"]));
        let path = folder.path().join("batchnorm-model.safetensors");
        (folder, path)
    });
    path
}

fn predict(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, &[&["predict", "--model", model().to_str().unwrap()], arguments].concat())
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(done(&predict(folder, &[arguments, &["--json"]].concat()))).expect("stdout is JSON")
}

/// A digit enlarged so many times with margins: the bytes of each pixel are what `paint` makes of its ink.
fn picture(
    digit: &[f32],
    scale: usize,
    margins: (usize, usize),
    paint: impl Fn(f32) -> Vec<u8>,
) -> (usize, Vec<Vec<u8>>) {
    let (across, down) = margins;
    let ink = |x: usize, y: usize| match (x.checked_sub(across), y.checked_sub(down)) {
        (Some(x), Some(y)) if x < 8 * scale && y < 8 * scale => digit[y / scale * 8 + x / scale],
        _ => 0.0,
    };
    let (width, height) = (8 * scale + across + 3, 8 * scale + down + 3);
    (width, (0..height).map(|y| (0..width).flat_map(|x| paint(ink(x, y))).collect()).collect())
}

fn byte(share: f32) -> u8 {
    (share * 255.0).round() as u8
}

fn dark(digit: &[f32]) -> Vec<u8> {
    let (width, rows) = picture(digit, 10, (25, 4), |ink| vec![byte(1.0 - ink)]);
    png(width, 8, 0, &[], &rows)
}

fn first(images: &Examples, class: u8) -> &[f32] {
    let at = images.classes.iter().position(|&of| of == class).unwrap();
    &images.values[at * PIXELS..][..PIXELS]
}

#[test]
fn the_embedded_digits_are_a_labelled_set() {
    let folder = folder();
    let output = predict(folder.path(), &["--digits", "test"]);
    let shown = done(&output);
    for part in ["Accuracy: 9", "of 360", "is \\ said", "Worst mistakes"] {
        assert!(shown.contains(part), "{shown}");
    }
    let (test, train, all) = ("test", "train", "all");
    let [test, train, all] = [test, train, all].map(|set| json(folder.path(), &["--digits", set]));
    assert!(test["labelled_set"]["accuracy"].as_f64().unwrap() >= 0.95);
    let right = |set: &Value| set["labelled_set"]["right"].as_u64().unwrap();
    let count = |set: &Value| set["answers"].as_array().unwrap().len();
    assert_eq!((count(&test), count(&train), count(&all)), (360, 1437, 1797));
    assert_eq!(right(&all), right(&test) + right(&train));
    let confusion: u64 = (0..10).map(|class| test["labelled_set"]["confusion"][class][class].as_u64().unwrap()).sum();
    assert_eq!(confusion, right(&test));
    for answer in test["answers"].as_array().unwrap() {
        let shares: Vec<f64> =
            answer["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
        let digit = answer["digit"].as_u64().unwrap() as usize;
        assert!(shares.iter().all(|share| *share <= shares[digit]));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 0.01);
        assert_ne!(answer["digit"], answer["runner_up"]);
    }
}

#[test]
fn one_picture_of_every_kind_is_shown_and_recognised() {
    let folder = folder();
    let digits = Digits::embedded();
    let three = first(&digits.test, 3);
    let grey16 = |ink: f32| ((65535.0 * ink) as u16).to_be_bytes().to_vec();
    let palette: Vec<u8> = (0..=255u8).flat_map(|at| [255 - at, 255 - at, 255]).collect();
    type Kind<'k> = (&'k str, u8, u8, &'k [(&'k [u8; 4], &'k [u8])], &'k dyn Fn(f32) -> Vec<u8>);
    let kinds: [Kind; 6] = [
        ("grey.png", 8, 0, &[], &|ink| vec![byte(1.0 - ink)]),
        ("grey-16-inverted.PNG", 16, 0, &[], &grey16),
        ("colour.png", 8, 2, &[], &|ink| vec![byte(1.0 - ink), byte(1.0 - 0.5 * ink), 255]),
        ("colour-alpha.png", 8, 6, &[], &|ink| vec![0, 0, 90, byte(ink)]),
        ("grey-alpha-16.png", 16, 4, &[], &|ink| [vec![0, 0], grey16(ink)].concat()),
        ("palette.png", 8, 3, &[(b"PLTE", &palette)], &|ink| vec![byte(ink)]),
    ];
    for (name, depth, colour, between, paint) in kinds {
        let (width, rows) = picture(three, 9, (40, 11), paint);
        std::fs::write(folder.path().join(name), png(width, depth, colour, between, &rows)).unwrap();
        let output = predict(folder.path(), &[name]);
        let shown = done(&output);
        assert!(shown.contains("sees") && shown.contains('█') && shown.contains(name), "{shown}");
        assert_eq!(json(folder.path(), &[name])["answers"][0]["digit"], 3, "{name}");
    }
    // All of them as a folder without labels: no picture of what is seen, no accuracy.
    let output = predict(folder.path(), &["."]);
    assert!(!done(&output).contains("sees") && !done(&output).contains("Accuracy"), "{}", done(&output));
    let answers = &json(folder.path(), &["."])["answers"];
    assert_eq!(answers.as_array().unwrap().len(), 6);
    assert_eq!(answers[0]["label"], Value::Null);
}

/// `docs/seven.png`, saved by PIL as JPEG (quality 85, grey).
#[test]
fn jpeg_pictures_are_recognised_too() {
    let folder = folder();
    let seven = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/seven.jpg");
    std::fs::copy(&seven, folder.path().join("seven.JPEG")).unwrap();
    for path in ["seven.JPEG", "."] {
        assert_eq!(json(folder.path(), &[path])["answers"][0]["digit"], 7, "{path}");
    }
    let cut = std::fs::read(&seven).unwrap();
    std::fs::write(folder.path().join("cut.jpg"), &cut[..cut.len() / 2]).unwrap();
    refused(&predict(folder.path(), &["cut.jpg"]), 3, &["cut.jpg", "the JPEG picture is cut off after"]);
}

#[test]
fn a_folder_by_digits_is_a_labelled_set_as_good_as_the_digits() {
    let folder = folder();
    let Digits { test, .. } = Digits::embedded();
    for (at, digit) in test.values.as_chunks::<PIXELS>().0.iter().enumerate() {
        let of = folder.path().join("set").join(test.classes[at].to_string());
        std::fs::create_dir_all(&of).unwrap();
        std::fs::write(of.join(format!("{at}.png")), dark(digit)).unwrap();
    }
    std::fs::write(folder.path().join("set/README"), "not a picture").unwrap();
    let of = |arguments: &[&str]| json(folder.path(), arguments)["labelled_set"].clone();
    let (pictures, embedded) = (of(&["set"]), of(&["--digits", "test"]));
    assert_eq!((&pictures["labelled"], &embedded["labelled"]), (&360.into(), &360.into()));
    let [pictures, embedded] = [pictures, embedded].map(|set| set["accuracy"].as_f64().unwrap());
    println!("pictures {pictures}, digits {embedded}");
    assert!(pictures >= embedded - 0.02, "{pictures} against {embedded}");

    // One bad picture: named, exit code 3, and everything else is said all the same.
    std::fs::write(folder.path().join("set/4/broken.png"), "no picture").unwrap();
    let output = predict(folder.path(), &["set"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr).lines().count(), 1);
    assert!(text(&output.stderr).contains("broken.png"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("of 360"), "{}", text(&output.stdout));
    std::fs::write(folder.path().join("set/5/broken.png"), "").unwrap();
    let output = predict(folder.path(), &["set", "--json"]);
    assert!(text(&output.stderr).contains("2 of 362 pictures"), "{}", text(&output.stderr));
    let failed = serde_json::from_slice::<Value>(&output.stdout).unwrap()["failed"].clone();
    assert_eq!(failed.as_array().unwrap().len(), 2);

    // An empty folder among the paths: the others are answered.
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let output = predict(folder.path(), &["empty", "set"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("an empty folder"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("of 360"), "{}", text(&output.stdout));
}

#[test]
fn bad_pictures_and_folders_are_one_line() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let whole = dark(first(&Digits::embedded().test, 7));
    std::fs::write(at("cut.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(at("text.png"), "a letter").unwrap();
    std::fs::write(at("nothing.png"), "").unwrap();
    std::fs::write(at("blank.png"), png(9, 8, 0, &[], &vec![vec![200; 9]; 9])).unwrap();
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    std::fs::write(at("bomb.png"), bomb).unwrap();
    std::fs::create_dir_all(at("empty")).unwrap();
    std::fs::create_dir_all(at("empty-labelled/3")).unwrap();
    std::fs::create_dir_all(at("both/3")).unwrap();
    std::fs::write(at("both/1.png"), &whole).unwrap();
    std::fs::create_dir_all(at("other")).unwrap();
    std::fs::write(at("other/photo.jpg"), "JFIF").unwrap();
    let cases: [(&str, &[&str]); 10] = [
        ("cut.png", &["cut.png", "cut off"]),
        ("text.png", &["text.png", "expected a PNG"]),
        ("nothing.png", &["nothing.png", "expected a PNG"]),
        ("blank.png", &["blank.png", "blank"]),
        ("bomb.png", &["bomb.png", "65536 x 65536", "16777216"]),
        ("missing.png", &["missing.png"]),
        ("empty", &["empty", "PNG"]),
        ("empty-labelled", &["empty-labelled", "PNG"]),
        ("both", &["both", "got both"]),
        ("other", &["other", "PNG"]),
    ];
    for (path, parts) in cases {
        refused(&predict(folder.path(), &[path]), 3, parts);
    }
    refused(&predict(folder.path(), &[]), 2, &["PATH", "--digits test"]);
}

#[test]
fn bad_models_are_one_line() {
    let folder = folder();
    let whole = std::fs::read(model()).unwrap();
    let length = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    // Same length, so that nothing else moves.
    let header = text(&whole[8..length]);
    let with = |from: &str, to: &str| {
        assert!(header.contains(from) && from.len() == to.len(), "{header}");
        [&whole[..8], header.replacen(from, to, 1).as_bytes(), &whole[length..]].concat()
    };
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let foreign = [&24u64.to_le_bytes()[..], br#"{"__metadata__":{}}     "#].concat();
    let huge = [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat();
    let cases: [(Vec<u8>, &str); 10] = [
        (Vec::new(), "safetensors"),
        (vec![0xa5; 5000], "safetensors"),
        (whole[..whole.len() - 1].to_vec(), "safetensors"),
        (huge, "safetensors"),
        (foreign, "without its description"),
        (with("batchnorm-model 1", "batchnorm-model 7"), "format"),
        (with("[100,100,100]", "[10000000000]"), "hidden"),
        (with("[100,100,100]", "[100,100, 99]"), "hidden.2"),
        (with("output.bias", "output.bios"), "output.bias"),
        (nan, "finite"),
    ];
    for (content, part) in cases {
        std::fs::write(folder.path().join("model"), content).unwrap();
        let output = run(folder.path(), &["predict", "--model", "model", "--digits", "test"]);
        refused(&output, 3, &["--model", part]);
    }
    let missing = run(folder.path(), &["predict", "--digits", "test"]);
    refused(&missing, 3, &["--model", "batchnorm-model.safetensors", "batchnorm train"]);
    refused(&run(folder.path(), &["predict", "--model", ".", "--digits", "test"]), 3, &["--model", "folder"]);
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf8_are_shown_as_they_can_be() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"odd-\xff"));
    std::fs::copy(model(), odd).unwrap();
    let said = support::json_with_odd_path(folder.path(), &["predict", "--digits", "test", "--json", "--model"]);
    assert!(said["model"].as_str().unwrap().contains('\u{fffd}'));
}
