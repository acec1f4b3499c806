//! The program: what it prints, its exit codes, and its errors in a line.

use std::fs;
use std::process::{Command, Output};

use batchnorm_conformance::{case::Case, store};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_batchnorm-conformance")).args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_green_run_says_how_many_passed() {
    let output = run(&["--only", "cs231n"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.contains("passed") && !shown.contains("cs231n"), "only what failed is listed: {shown}");
    assert!(text(&run(&["--only", "cs231n", "--verbose"]).stdout).contains("cs231n-4x5-f32"));
    let json: serde_json::Value = serde_json::from_slice(&run(&["--only", "cs231n", "--json"]).stdout).unwrap();
    let first = &json.as_array().expect("a verdict for each case")[0];
    assert_eq!((first["case"].as_str(), first["outcome"].as_str()), (Some("cs231n-4x5"), Some("passed")));
    assert!(first["errors"]["dx"].as_f64().expect("a number") < 1.0);
}

#[test]
fn a_case_that_fails_is_shown_and_counts_in_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let cases = store::read(store::folder()).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name.starts_with("mlp")).collect();
    store::write(folder.path(), &cases).unwrap();
    let place = folder.path().to_str().unwrap();
    assert_eq!(run(&["--cases", place]).status.code(), Some(0));
    let index = fs::read_to_string(folder.path().join("index.json")).unwrap();
    let strict = index.replace("\"unit\":\"ulp\",\"at_most\":2.0", "\"unit\":\"ulp\",\"at_most\":0.25");
    assert_ne!(strict, index);
    fs::write(folder.path().join("index.json"), strict).unwrap();
    let output = run(&["--cases", place]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("mlp-60x20") && shown.contains("FAILED"), "{shown}");
}

#[test]
fn what_can_not_be_read_is_an_error_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["--only", "no-such-case"][..], "--only no-such-case: no case's name contains it"),
        (&["--cases", folder.path().to_str().unwrap()], "index.json: "),
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("batchnorm-conformance: ") && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn outputs_are_left_for_others_to_judge() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    assert_eq!(run(&["--only", "by-hand-two", "--outputs", place]).status.code(), Some(0));
    let archive = batchnorm_io::npz::Npz::open(&folder.path().join("by-hand-two-values.npz")).unwrap();
    assert_eq!(archive.array("y").unwrap().numbers.to_f64(), [-1.0, -1.0, 1.0, 1.0]);
}
