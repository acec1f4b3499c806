//! Data of every kind as inputs, and what is wrong with them.
#![allow(missing_docs)]

#[path = "support/png.rs"]
mod png;

use std::fs;
use std::path::{Path, PathBuf};

use batchnorm_io::npy;
use batchnorm_io::npz::{Packing, Writer};
use batchnorm_io::table::Header;
use batchnorm_model::recipe::{Colours, Filter, Layout, Recipe, Resize};
use batchnorm_model::samples::{InputShape, Samples, SamplesError};
use png::png;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn save(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Numbers from a fixed seed, by a plain congruential generator.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    println!("seed {seed}");
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn nearest(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn open(path: &Path) -> Result<Samples, SamplesError> {
    Samples::open(path, None, None)
}

fn refused<T>(result: Result<T, SamplesError>, parts: &[&str]) {
    let error = result.err().expect("an error").to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    assert!(!error.contains("  "), "{error}");
}

/// Batches are slices of the whole, for each input.
fn batches_are_slices(samples: &Samples) -> Vec<Vec<f32>> {
    let whole = samples.read(0..samples.len()).unwrap();
    for places in [0..samples.len().min(5), 3..4, 1..1, samples.len() - 1..samples.len()] {
        let batch = samples.read(places.clone()).unwrap();
        assert_eq!(batch.len(), samples.inputs().len());
        for ((batch, whole), input) in batch.iter().zip(&whole).zip(samples.inputs()) {
            let each: usize = input.shape.iter().product();
            assert_eq!(batch[..], whole[places.start * each..places.end * each]);
        }
    }
    for (first, end) in [(0, samples.len() + 1), (usize::MAX, usize::MAX), (2, 1)] {
        refused(samples.read(std::ops::Range { start: first, end }), &["expected samples before"]);
    }
    whole
}

fn is_shared<T: Send + Sync>(_: &T) {}

#[test]
fn an_array_is_read_by_ranges() {
    let folder = folder();
    let values = numbers(7 * 2 * 3, 1);
    let path = save(&folder, "x.npy", npy::encode(&[7, 2, 3], &values).unwrap());
    let samples = open(&path).unwrap();
    is_shared(&samples);
    assert_eq!((samples.len(), samples.inputs()), (7, &[InputShape { name: None, shape: vec![2, 3] }][..]));
    assert_eq!(batches_are_slices(&samples), [nearest(&values)]);
    assert!(!samples.are_pictures() && samples.labels().is_none() && samples.classes().is_none());
    assert!(samples.notes().is_empty() && samples.recipe().is_none());
    refused(samples.prepared_by(&Recipe::default()), &["expected pictures"]);
    let noted = Samples::open(&path, Some(&Recipe::default()), None).unwrap();
    assert!(noted.notes()[0].contains("the recipe was not applied"), "{:?}", noted.notes());
    // One value each.
    let flat = open(&save(&folder, "flat.npy", npy::encode(&[4], &[1.0f32, 2.0, 3.0, 4.0]).unwrap())).unwrap();
    assert_eq!((flat.inputs()[0].shape.len(), batches_are_slices(&flat)), (0, vec![vec![1.0, 2.0, 3.0, 4.0]]));

    // Whole numbers: pictures in bytes, as many keep them.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../batchnorm-io/tests/golden/whole_u1.npy");
    let bytes = open(&golden).unwrap();
    assert!(bytes.notes()[0].contains("uint8") && bytes.notes()[0].contains("as they stand"), "{:?}", bytes.notes());

    let of = |shape: &[usize], values: &[f64]| open(&save(&folder, "y.npy", npy::encode(shape, values).unwrap()));
    refused(of(&[0, 3], &[]), &["y.npy", "expected samples", "[0, 3]"]);
    refused(of(&[3, 0], &[]), &["y.npy", "expected samples", "[3, 0]"]);
    refused(of(&[], &[1.0]), &["y.npy", "a single number"]);
    for (value, said) in [(f64::NAN, "NaN"), (f64::NEG_INFINITY, "-inf"), (1e39, "beyond single precision")] {
        let mut values = vec![1.0; 24];
        values[19] = value;
        let samples = of(&[4, 2, 3], &values).unwrap();
        refused(samples.read(2..4), &["y.npy", "sample 3", "[0, 1]", said]);
        samples.read(0..3).unwrap();
    }
    let fortran = folder_with_fortran(&folder);
    refused(open(&fortran), &["Fortran order", "np.ascontiguousarray"]);
    let good = npy::encode(&[2], &[1.0f32, 2.0]).unwrap();
    refused(open(&save(&folder, "cut.npy", &good[..130])), &["cut.npy", "ends within its data"]);
    refused(open(&save(&folder, "x.bin", "what")), &["x.bin", "got another file"]);
    // (Whatever its name.)
    assert_eq!(open(&save(&folder, "other", &good)).unwrap().len(), 2);
    refused(open(&folder.path().join("none.npy")), &["none.npy"]);
}

fn folder_with_fortran(folder: &TempDir) -> PathBuf {
    let text = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n";
    let head = [b"\x93NUMPY\x01\x00".to_vec(), (text.len() as u16).to_le_bytes().to_vec()].concat();
    save(folder, "fortran.npy", [head, text.as_bytes().to_vec(), vec![0; 16]].concat())
}

#[test]
fn each_array_of_an_archive_is_an_input() {
    let folder = folder();
    let (x, mask) = (numbers(6 * 4, 2), numbers(6, 3));
    for packing in [Packing::Stored, Packing::Deflated] {
        let mut writer = Writer::new(Vec::new(), packing);
        writer.array("x", &[6, 2, 2], &x).unwrap();
        writer.array("mask", &[6], &mask).unwrap();
        let path = save(&folder, "x.npz", writer.finish().unwrap());
        let samples = open(&path).unwrap();
        let input = |name: &str, shape: &[usize]| InputShape { name: Some(name.to_owned()), shape: shape.to_vec() };
        assert_eq!(samples.inputs(), [input("x", &[2, 2]), input("mask", &[])]);
        assert_eq!(batches_are_slices(&samples), [nearest(&x), nearest(&mask)]);

        let mut writer = Writer::new(Vec::new(), packing);
        writer.array("x", &[2, 2], &[1.0, f64::NAN, 0.0, 0.0]).unwrap();
        let path = save(&folder, "nan.npz", writer.finish().unwrap());
        refused(open(&path).unwrap().read(0..2), &["nan.npz `x`", "sample 0", "[1]"]);

        let mut writer = Writer::new(Vec::new(), packing);
        writer.array("x", &[3], &[0.0; 3]).unwrap();
        writer.array("y", &[2], &[0.0; 2]).unwrap();
        let path = save(&folder, "counts.npz", writer.finish().unwrap());
        refused(open(&path), &["counts.npz", "3 in `x` and 2 in `y`"]);
    }
    let none = Writer::new(Vec::new(), Packing::Stored).finish().unwrap();
    refused(open(&save(&folder, "none.npz", none)), &["none.npz", "expected samples"]);
    refused(open(&save(&folder, "zip.npz", "no")), &["zip.npz", "expected a zip archive"]);
}

#[test]
fn rows_of_a_table_are_samples() {
    let folder = folder();
    let path = save(&folder, "t.csv", ",a,b\n0,1.5,2\n1,2.5,3\n2,0,-1e-3\n3,7,8\n");
    let samples = open(&path).unwrap();
    assert_eq!((samples.len(), &samples.inputs()[0].shape), (4, &vec![2]));
    assert_eq!(batches_are_slices(&samples), [[1.5, 2.0, 2.5, 3.0, 0.0, -1e-3, 7.0, 8.0]]);
    assert!(samples.notes()[0].contains("t.csv") && samples.notes()[0].contains("was left out"));
    let tabs = open(&save(&folder, "t.tsv", "1.5\t2\n2.5\t3.5\n")).unwrap();
    assert_eq!(tabs.read(0..2).unwrap(), [[1.5, 2.0, 2.5, 3.5]]);
    refused(open(&save(&folder, "r.txt", "1.5,2\n3,4\n5\n")), &["r.txt", "line 3"]);
    // Where nobody can tell whether the first line is names, it is said.
    let path = save(&folder, "h.csv", "0,1,2\n4,5,6\n");
    refused(open(&path), &["h.csv", "may name the columns", "--header"]);
    let of = |header| Samples::open_table(&path, header, None).unwrap().read(0..1).unwrap();
    assert_eq!((of(Header::No), of(Header::Yes)), (vec![vec![0.0, 1.0, 2.0]], vec![vec![4.0, 5.0, 6.0]]));
    let nan = open(&save(&folder, "n.csv", "a,b\n1,2\n3,nan\n")).unwrap();
    refused(nan.read(0..2), &["n.csv", "sample 1", "[1]", "NaN"]);
}

/// 2 x 2 pixels, whose values say where they are.
const SMALL: [u8; 12] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];

fn of_recipe(pixels: &[u8], width: usize, recipe: &Recipe) -> (Vec<usize>, Vec<f32>) {
    let folder = folder();
    save(&folder, "a.png", png(width, 3, pixels));
    let samples = Samples::open(folder.path(), Some(recipe), None).unwrap();
    (samples.inputs()[0].shape.clone(), samples.read(0..1).unwrap().remove(0))
}

#[test]
fn a_recipe_by_hand_on_four_pixels() {
    let plain = Recipe { scale: 1.0, ..Recipe::default() };
    let (shape, values) = of_recipe(&SMALL, 2, &plain);
    let planes = [10., 40., 70., 100., 20., 50., 80., 110., 30., 60., 90., 120.];
    assert_eq!((&shape[..], &values[..]), (&[3, 2, 2][..], &planes[..]));
    let (shape, values) = of_recipe(&SMALL, 2, &Recipe { layout: Layout::Nhwc, ..plain.clone() });
    assert_eq!((&shape[..], values), (&[2, 2, 3][..], SMALL.map(f32::from).to_vec()));
    let bgr = Recipe { colours: Colours::Bgr, mean: vec![1.0, 2.0, 3.0], sd: vec![0.5], ..plain.clone() };
    let (_, values) = of_recipe(&SMALL, 2, &bgr);
    let expected = [58., 118., 178., 238., 36., 96., 156., 216., 14., 74., 134., 194.];
    assert_eq!(values, expected);
    // 0.299 r + 0.587 g + 0.114 b = 18.15, 48.15, ..
    let (shape, values) = of_recipe(&SMALL, 2, &Recipe { colours: Colours::Grey, ..plain.clone() });
    assert_eq!((&shape[..], &values[..]), (&[1, 2, 2][..], &[18., 48., 78., 108.][..]));
    let (_, values) = of_recipe(&SMALL, 2, &Recipe::default());
    assert_eq!(values[0], (10.0f64 / 255.0) as f32);

    // The middle: of 3 x 5 pixels (rest 2 and 3, half of which rounds to 2) and of 2 x 3 (rest 1, half of which is 0).
    let wide: Vec<u8> = (0..15).flat_map(|at| [at, 0, 0]).collect();
    let (_, values) = of_recipe(&wide, 5, &Recipe { crop: Some([1, 2]), ..plain.clone() });
    assert_eq!(values[..2], [7.0, 8.0]);
    let (_, values) = of_recipe(&SMALL, 2, &Recipe { crop: Some([1, 1]), ..plain.clone() });
    assert_eq!(values, [10.0, 20.0, 30.0]);

    let filter = Filter::Nearest;
    let resized = |resize| Recipe { resize: Some(resize), ..plain.clone() };
    let (shape, values) = of_recipe(&wide, 5, &resized(Resize::Exact { height: 1, width: 1, filter }));
    assert_eq!((&shape[..], values[0]), (&[3, 1, 1][..], 7.0));
    let (shape, _) = of_recipe(&wide, 5, &resized(Resize::Shortest { length: 4, filter }));
    assert_eq!(shape, [3, 4, 6]);
    // Two pixels beside each other in 3 x 4: doubled, a border of one row below alone.
    let two = [1, 1, 1, 9, 9, 9];
    let boxed = resized(Resize::Letterbox { height: 3, width: 4, colour: [5, 6, 7], filter });
    let (shape, values) = of_recipe(&two, 2, &boxed);
    assert_eq!(shape, [3, 3, 4]);
    assert_eq!(values[..12], [1., 1., 9., 9., 1., 1., 9., 9., 5., 5., 5., 5.]);
    assert_eq!(values[32..], [7.0; 4]);
    // Rounded to whole numbers after the resize, as Pillow does: the mean of 1 and 9 of ten is 5, of 1 and 2 is 2.
    let filter = Filter::PillowBilinear;
    let (_, values) = of_recipe(&[1, 1, 1, 2, 9, 2], 2, &resized(Resize::Exact { height: 1, width: 1, filter }));
    assert_eq!(values, [2.0, 5.0, 2.0]);
    // Transparency is left out.
    let folder = folder();
    save(&folder, "a.png", png(1, 4, &[10, 20, 30, 0]));
    let samples = Samples::open(folder.path(), Some(&plain), None).unwrap();
    assert_eq!(samples.read(0..1).unwrap(), [[10.0, 20.0, 30.0]]);
    assert!(samples.notes()[0].contains("transparency") && samples.notes()[0].contains("a.png"));
}

#[test]
fn pictures_come_in_the_order_of_their_names() {
    let folder = folder();
    let grey = |level: u8| png(2, 3, &[level; 12]);
    for (name, level) in [("b.PNG", 2), ("a10.png", 1), ("a9.png", 11), ("c.png", 3), ("B.png", 0)] {
        save(&folder, name, grey(level));
    }
    save(&folder, ".hidden.png", "no picture");
    save(&folder, "notes.txt", "");
    save(&folder, "Thumbs.db", "");
    let recipe = Recipe { scale: 1.0, ..Recipe::default() };
    let samples = Samples::open(folder.path(), Some(&recipe), None).unwrap();
    let whole = batches_are_slices(&samples).remove(0);
    assert_eq!(whole.iter().step_by(12).copied().collect::<Vec<_>>(), [0.0, 1.0, 11.0, 2.0, 3.0]);
    let said = samples.notes().join("\n");
    assert!(said.contains("hidden files and folders were left out: 1"), "{said}");
    assert!(said.contains("left out: 2, the first is") && said.contains("Thumbs.db"), "{said}");
    assert!(samples.are_pictures() && samples.labels().is_none());
    assert_eq!(samples.recipe(), Some(&recipe));

    // Values and order of colours alone.
    let other =
        Recipe { scale: 2.0, colours: Colours::Bgr, crop: Some([1, 1]), layout: Layout::Nhwc, ..recipe.clone() };
    let prepared = samples.prepared_by(&other).unwrap();
    assert_eq!((prepared.inputs(), prepared.len()), (samples.inputs(), 5));
    assert_eq!(prepared.recipe().unwrap().layout, Layout::Nchw);
    let doubled: Vec<f32> = whole.iter().map(|value| 2.0 * value).collect();
    assert_eq!(prepared.read(0..5).unwrap(), [doubled]);
    refused(samples.prepared_by(&Recipe { colours: Colours::Grey, ..recipe.clone() }), &["3 channels", "with 1"]);
    refused(samples.prepared_by(&Recipe { scale: 0.0, ..recipe.clone() }), &["`scale`"]);

    // One of another size.
    save(&folder, "d.png", png(3, 3, &[7; 18]));
    refused(open(folder.path()), &["d.png", "expected 2 x 2", "B.png", "got 2 x 3", "resized to one size"]);
    let exact = Resize::Exact { height: 4, width: 5, filter: Filter::default() };
    let recipe = Recipe { resize: Some(exact), ..recipe };
    assert_eq!(Samples::open(folder.path(), Some(&recipe), None).unwrap().inputs()[0].shape, [3, 4, 5]);
    let crop = Recipe { crop: Some([2, 3]), ..Recipe::default() };
    refused(Samples::open(folder.path(), Some(&crop), None), &["B.png", "2 x 3", "got 2 x 2"]);
    // It changes after it was opened.
    let samples =
        Samples::open(folder.path(), Some(&Recipe { crop: Some([1, 1]), ..Recipe::default() }), None).unwrap();
    save(&folder, "d.png", "no picture");
    refused(samples.read(0..6), &["d.png", "expected a PNG or JPEG picture"]);
    refused(open(folder.path()), &["d.png", "expected a PNG or JPEG picture"]);
    samples.read(0..5).unwrap();
}

#[test]
fn sub_folders_are_classes() {
    let folder = folder();
    for (name, level) in [("10/a.png", 1), ("9/b.png", 2), ("9/a.png", 3), ("2/x.png", 4)] {
        save(&folder, name, png(1, 3, &[level; 3]));
    }
    save(&folder, ".cache/y.png", "");
    let samples = open(folder.path()).unwrap();
    assert_eq!(samples.classes().unwrap(), ["10", "2", "9"]);
    assert_eq!(samples.labels().unwrap(), [0, 1, 2, 2]);
    let values = samples.read(0..4).unwrap().remove(0);
    let levels: Vec<f32> = values.iter().step_by(3).map(|value| (value * 255.0).round()).collect();
    assert_eq!(levels, [1.0, 4.0, 3.0, 2.0]);
    let said = samples.notes().join("\n");
    assert!(said.contains("`10` is class 0, `2` class 1"), "{said}");

    let labels = save(&folder, "labels.csv", "0\n1\n2\n2\n");
    refused(Samples::open(folder.path(), None, Some(&labels)), &["labels.csv", "sub-folders as classes"]);
    fs::create_dir(folder.path().join("3")).unwrap();
    refused(open(folder.path()), &["3: expected PNG or JPEG pictures", "got none"]);
    save(&folder, "3/deep/a.png", "");
    refused(open(folder.path()), &["3/deep: expected pictures alone"]);
    save(&folder, "a.png", png(1, 3, &[0; 3]));
    refused(open(folder.path()), &["got both", "a.png", "10"]);
    let empty = tempfile::tempdir().unwrap();
    refused(open(empty.path()), &["expected PNG or JPEG pictures"]);
    refused(open(&folder.path().join("a.png")), &["a.png", "a single picture; put it into a folder"]);
}

#[test]
fn rotation_is_noted_and_not_applied() {
    let folder = folder();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../batchnorm-io/tests/golden/pictures/baseline.jpg");
    let jpeg = fs::read(golden).unwrap();
    // Orientation 6.
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
    save(&folder, "a.jpg", &jpeg);
    save(&folder, "b.jpeg", turned);
    let samples = open(folder.path()).unwrap();
    assert_eq!(samples.inputs()[0].shape, [3, 37, 53]);
    assert!(samples.notes()[0].contains("EXIF") && samples.notes()[0].contains("b.jpeg"), "{:?}", samples.notes());
    let both = samples.read(0..2).unwrap().remove(0);
    assert_eq!(both[..3 * 37 * 53], both[3 * 37 * 53..]);
}

#[test]
fn labels_are_whole_numbers_one_a_sample() {
    let folder = folder();
    let data = save(&folder, "x.npy", npy::encode(&[3, 1], &[1.0f32, 2.0, 3.0]).unwrap());
    let with = |name: &str, bytes: &[u8]| Samples::open(&data, None, Some(&save(&folder, name, bytes)));
    for (name, text) in [
        ("l.csv", "0\n1\n2\n"),
        ("l.txt", "0\r\n1\r\n2"),
        ("l.csv", "\u{feff}label\n\"0\"\n1\n\n2.0\n"),
        ("l.csv", "# of August\n0\n1\n2\n"),
    ] {
        assert_eq!(with(name, text.as_bytes()).unwrap().labels(), Some(&[0, 1, 2][..]), "{text}");
    }
    assert!(with("l.csv", b"label\n0\n0\n2\n").unwrap().notes()[0].contains("`label` was taken for the name"));
    assert_eq!(with("l.npy", &npy::encode(&[3], &[5.0f64, 0.0, 1.0]).unwrap()).unwrap().labels(), Some(&[5, 0, 1][..]));
    assert_eq!(with("l.npy", &npy::encode(&[3, 1], &[5.0f32, 0.0, 1.0]).unwrap()).unwrap().labels().unwrap()[0], 5);

    refused(with("l.csv", b"0\n1\n"), &["l.csv", "expected 3 labels", "got 2"]);
    refused(with("l.csv", b"0\n1\n2\n3\n"), &["l.csv", "expected 3 labels", "got 4"]);
    refused(with("l.csv", b"0\n\n-1\n2\n"), &["l.csv: line 3", "`-1`", "from 0"]);
    refused(with("l.csv", b"0\n1.5\n2\n"), &["line 2", "`1.5`"]);
    refused(with("l.csv", b"0\ncat\n2\n"), &["line 2", "`cat`"]);
    refused(with("l.csv", b"name,label\na,0\n"), &["line 1", "`name,label`", "labels alone"]);
    refused(with("l.csv", b"0\n1\n16777216\n"), &["line 3", "16777215"]);
    refused(with("l.csv", b"0\n\xff\n"), &["l.csv", "UTF-8"]);
    refused(with("l.npy", &npy::encode(&[3], &[0.0, -1.0, 0.0]).unwrap()), &["l.npy: sample 1", "got -1"]);
    refused(with("l.npy", &npy::encode(&[3], &[0.0, f64::NAN, 0.0]).unwrap()), &["sample 1", "got NaN"]);
    refused(with("l.npy", &npy::encode(&[2], &[0.0, 1.0]).unwrap()), &["expected 3 labels", "[2]"]);
    refused(with("l.npy", &npy::encode(&[3, 2], &[0.0; 6]).unwrap()), &["expected 3 labels", "[3, 2]"]);
    refused(with("l.json", b"[]"), &["l.json", ".npy, .csv or .txt"]);
    refused(Samples::open(&data, None, Some(folder.path())), &["got a folder"]);
}

#[cfg(unix)]
#[test]
fn pipes_are_refused_and_not_waited_for() {
    let folder = folder();
    let pipe = folder.path().join("a.png");
    if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        println!("SKIPPED: no mkfifo");
        return;
    }
    refused(open(folder.path()), &["a.png", "expected a regular file"]);
    refused(open(&pipe), &["a.png", "expected a regular file"]);
    let data = save(&folder, "x.npy", npy::encode(&[1], &[1.0f32]).unwrap());
    let labels = folder.path().join("l.csv");
    std::process::Command::new("mkfifo").arg(&labels).status().unwrap();
    refused(Samples::open(&data, None, Some(&labels)), &["l.csv", "expected a regular file"]);
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "a measurement: run alone"]
fn memory_does_not_grow_with_the_file() {
    let folder = folder();
    let path = folder.path().join("x.npy");
    let (samples, each) = (2000, 25_000);
    // 200 MB, written row by row.
    let mut file = fs::File::create(&path).unwrap();
    let head = npy::encode(&[1, each], &vec![0.0f32; each]).unwrap();
    let from = format!("(1, {each})");
    let text = String::from_utf8_lossy(&head[10..128]).replace(&from, &format!("({samples}, {each})"));
    let text = text.replacen("   ", "", 1);
    use std::io::Write;
    file.write_all(&head[..10]).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    for row in 0..samples {
        let bytes: Vec<u8> = (0..each).flat_map(|at| ((row + at) as f32).to_le_bytes()).collect();
        file.write_all(&bytes).unwrap();
    }
    drop(file);
    assert_eq!(fs::metadata(&path).unwrap().len(), 128 + 200_000_000);
    let before = peak();
    let begun = std::time::Instant::now();
    let read = open(&path).unwrap();
    let mut sum = 0.0;
    for first in (0..samples).step_by(16) {
        sum += read.read(first..first + 16).unwrap()[0].iter().map(|&value| f64::from(value)).sum::<f64>();
    }
    let grown = peak() - before;
    println!("200 MB in batches of 16 samples (1.6 MB): {grown} bytes more at most, {:?}, sum {sum}", begun.elapsed());
    assert!(grown < 8_000_000, "{grown}");
}

#[test]
#[ignore = "a measurement"]
fn opening_many_pictures_is_quick() {
    let folder = folder();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../batchnorm-io/tests/golden/pictures/baseline.jpg");
    let jpeg = fs::read(golden).unwrap();
    for at in 0..5000 {
        save(&folder, &format!("{at:05}.jpg"), &jpeg);
    }
    let photograph: Vec<u8> = numbers(3 * 1000 * 1500, 4).iter().map(|value| (255.0 * (value + 0.5)) as u8).collect();
    let begun = std::time::Instant::now();
    let samples = open(folder.path()).unwrap();
    println!("{} pictures opened in {:?}", samples.len(), begun.elapsed());
    let one = tempfile::tempdir().unwrap();
    fs::write(one.path().join("a.png"), png(1500, 3, &photograph)).unwrap();
    let filter = Filter::PillowBilinear;
    let recipe =
        Recipe { resize: Some(Resize::Shortest { length: 256, filter }), crop: Some([224, 224]), ..Recipe::default() };
    let samples = Samples::open(one.path(), Some(&recipe), None).unwrap();
    let begun = std::time::Instant::now();
    samples.read(0..1).unwrap();
    println!("a PNG of 1000 x 1500 in {:?}", begun.elapsed());
}
