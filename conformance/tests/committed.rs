//! The committed files are what the catalogue makes, and hold together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use batchnorm_conformance::case::{Case, Level, Operation, Refusal};
use batchnorm_conformance::kinds::Element;
use batchnorm_conformance::{catalogue, store};

fn committed() -> Vec<Case> {
    store::read(store::folder()).expect("the committed cases")
}

#[test]
fn the_files_are_those_that_generate_writes() {
    let files = store::files(&catalogue::all());
    for (place, bytes) in &files {
        let found = fs::read(store::folder().join(place)).unwrap_or_default();
        assert!(found == *bytes, "{} differs: `cargo run -p batchnorm-conformance -- generate`", place.display());
    }
    let listed = fs::read_dir(store::folder().join("cases")).unwrap();
    let there: BTreeSet<PathBuf> = listed.map(|entry| Path::new("cases").join(entry.unwrap().file_name())).collect();
    let expected: BTreeSet<PathBuf> = files.keys().filter(|place| place.starts_with("cases")).cloned().collect();
    assert_eq!(there, expected, "files of cases that are no more");
    let size: usize = files.values().map(Vec::len).sum();
    println!("{} files, {size} bytes", files.len());
    assert!(size < 5_000_000, "{size} bytes in all");
}

#[test]
fn written_elsewhere_they_are_the_same_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<Case> = committed().into_iter().take(20).collect();
    store::write(folder.path(), &cases).unwrap();
    store::write(folder.path(), &cases[..5]).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("cases")).unwrap().count(), 5);
    let again = store::read(folder.path()).unwrap();
    assert_eq!(store::files(&again), store::files(&cases[..5]), "nothing is lost in a file");
}

#[test]
fn every_case_says_what_it_is_and_asks_for_something() {
    let cases = committed();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    assert!(cases.len() >= 150, "{} cases", cases.len());
    for level in Level::ALL {
        assert!(cases.iter().filter(|case| case.level == level).count() >= 40, "{level}");
    }
    for case in &cases {
        let name = &case.name;
        for line in [&case.what, &case.why] {
            assert!(line.len() > 3 && line.len() < 140 && !line.contains('\n'), "{name}: {line}");
        }
        assert_eq!(case.expected.is_empty(), case.refusal == Refusal::Required, "{name}");
        // Something is judged of every output but one without elements, and in the unit it is measured in.
        for (output, expected) in &case.expected {
            let judged = expected.scale.iter().any(|scale| scale.is_finite());
            assert!(judged || expected.high.is_empty() || output == "dgamma" || output == "dbeta", "{name} {output}");
            assert!(expected.scale.iter().all(|&scale| scale >= 0.0), "{name} {output}");
            assert!(expected.bound.at_most.is_finite(), "{name} {output}");
        }
        let gives = matches!(case.problem.operation, Operation::Train | Operation::Eval | Operation::Forward);
        assert!(!gives || case.refusal == Refusal::Required || case.expected.contains_key("y"), "{name}");
    }
}

#[test]
fn the_readme_counts_them() {
    let readme = fs::read_to_string(store::folder().join("README.md")).unwrap();
    assert!(readme.contains(&format!("{} named cases", committed().len())), "README.md: another number of cases");
}

#[test]
fn bounds_are_those_of_the_contract() {
    for case in committed() {
        for (output, expected) in &case.expected {
            let most = match (output.as_str(), case.problem.element) {
                // 1e-13 (1 + mean/std), and twenty layers in a chain.
                (_, Element::F64) if case.problem.operation == Operation::Chain => 20.0 * 2e-13,
                (_, Element::F64) => 1e-13 * (1.0 + 2e9),
                ("y", Element::F32) => 2.0,
                ("y", _) => 1.5,
                ("mean" | "variance", _) => 1e-7,
                ("running_mean" | "running_variance", _) => 1e-7 + 60.0 * 2f64.powi(-24),
                ("dx" | "jvp", Element::F16) => 2f64.powi(-10),
                ("dx" | "jvp", Element::Bf16) => 2f64.powi(-7),
                _ => 1e-6,
            };
            assert!(expected.bound.at_most <= most, "{} {output}: {}", case.name, expected.bound.at_most);
        }
    }
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = store::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("index.json: "), "{error}");
    let cases: Vec<Case> = committed().into_iter().filter(|case| case.name == "strided-window").collect();
    store::write(folder.path(), &cases).unwrap();
    let index = fs::read_to_string(folder.path().join("index.json")).unwrap();
    for (from, to, expected) in [
        ("\"format\":1", "\"format\":2", "format 2; expected an index of format 1"),
        ("\"level\":\"hard\"", "\"level\":\"harder\"", "unknown variant `harder`"),
        ("\"what\"", "\"wat\"", "unknown field `wat`"),
        ("cases/strided-window.npz", "../strided-window.npz", "its file cases/NAME.npz"),
        ("\"strides\":[252", "\"strides\":[253", "the strides of 'x' lead out of its buffer"),
        ("\"strides\":[252", "\"strides\":[-252", "the strides of 'x' lead out of its buffer"),
        ("\"shape\":[3,4,5,2]}", "\"shape\":[3,4,5,3]}", "of another shape than the index says"),
        ("\"type\":\"f32\"", "\"type\":\"f64\"", "is not of the case's type"),
        ("\"y\":{", "\"z\":{", "it has no array 'expected.z'"),
        ("\"sample\",", "\"channel\",", "its roles must name each axis of x, and one as the channels"),
        ("\"x\":{\"shape\"", "\"z\":{\"shape\"", "it has no x"),
        ("\"refusal\"", "\"activation\":\"gelu\",\"refusal\"", "unknown variant `gelu`"),
        (
            "\"operation\":\"train\"",
            "\"operation\":\"forward\",\"activation\":\"relu\"",
            "an activation may follow train, eval and forward alone",
        ),
    ] {
        assert!(index.contains(from), "{from}");
        fs::write(folder.path().join("index.json"), index.replace(from, to)).unwrap();
        let error = store::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{from} to {to}: {error}");
    }
    fs::write(folder.path().join("index.json"), &index).unwrap();
    fs::write(folder.path().join("cases/strided-window.npz"), b"PK").unwrap();
    let error = store::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("strided-window.npz: not a .npz file"), "{error}");
}
