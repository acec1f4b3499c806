//! `run.py`: the same verdicts as the runner in Rust, and the expected values by decimal arithmetic.
//!
//! Needs Python with numpy: `python3`, or what `PYTHON` names. Without it the tests say that they were skipped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use batchnorm_conformance::judge::{Outcome, judge};
use batchnorm_conformance::{ours::Ours, store};
use serde_json::Value;

fn python() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_string());
    let has_numpy = Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|run| run.status.success());
    if !has_numpy {
        println!("SKIPPED: {python} has no numpy (PYTHON=/path/to/python names another)");
    }
    has_numpy.then_some(python)
}

fn run(python: &str, arguments: &[&str]) -> Output {
    let script: PathBuf = store::folder().join("run.py");
    let folder = store::folder().join("tests");
    let output = Command::new(python).arg("-B").arg(script).args(arguments).current_dir(folder).output();
    output.expect("python ran before")
}

/// The verdicts of one column.
fn verdicts(output: &Output) -> Vec<Value> {
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let columns = all.as_object().expect("a column for each implementation");
    assert_eq!(columns.len(), 1);
    columns.values().next().and_then(Value::as_array).expect("verdicts").clone()
}

#[test]
fn our_outputs_are_judged_alike_in_both_languages() {
    let Some(python) = python() else { return };
    let cases = store::read(store::folder()).expect("the committed cases");
    let folder = tempfile::tempdir().unwrap();
    for case in &cases {
        store::write_answers(folder.path(), case, &Ours).unwrap();
    }
    let output = run(&python, &[folder.path().to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = verdicts(&output);
    assert_eq!(theirs.len(), cases.len());
    for (case, theirs) in cases.iter().zip(theirs) {
        let own = judge(case, &Ours);
        assert_eq!((theirs["case"].as_str(), theirs["outcome"].as_str()), (Some(case.name.as_str()), Some("passed")));
        assert_eq!(own.outcome, Outcome::Passed);
        let errors: BTreeMap<String, f64> = serde_json::from_value(theirs["errors"].clone()).unwrap();
        assert_eq!(errors.keys().collect::<Vec<_>>(), own.errors.keys().collect::<Vec<_>>(), "{}", case.name);
        for (name, error) in errors {
            let ours = own.errors[&name];
            assert!((error - ours).abs() <= 1e-9 * ours, "{} {name}: {error} there, {ours} here", case.name);
        }
    }
}

#[test]
fn decimal_arithmetic_finds_the_expected_values() {
    let Some(python) = python() else { return };
    // With a hundredth of every bound: 1e-15 in f64.
    let output = run(&python, &["exactly", "--factor", "0.01", "--json"]);
    let verdicts = verdicts(&output);
    let count = |outcome: &str| verdicts.iter().filter(|verdict| verdict["outcome"] == outcome).count();
    let failed: Vec<_> = verdicts.iter().filter(|v| v["outcome"] != "passed" && v["outcome"] != "skipped").collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(count("passed") > 150, "{} passed", count("passed"));
    assert!(output.status.success());
}

#[test]
fn a_function_of_ones_own_is_called_with_cases_and_told_its_mistakes() {
    let Some(python) = python() else { return };
    let output = run(&python, &["spoiled:right", "--json"]);
    let right = verdicts(&output);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let passed = right.iter().filter(|verdict| verdict["outcome"] == "passed").count();
    assert!(passed > 40, "{passed}");
    for (function, case) in [
        ("eps_outside", "cs231n-4x5"),
        ("sample_variance", "by-hand-two-values"),
        ("mean_of_squares", "mean-1e4"),
        ("nan_spreads", "nan-beside-healthy"),
        ("another_shape", "cs231n-4x5"),
        ("refuses", "cs231n-4x5"),
    ] {
        let output = run(&python, &[&format!("spoiled:{function}"), "--only", case, "--json"]);
        let outcome = verdicts(&output).iter().find(|v| v["case"] == case).expect("it was run")["outcome"].clone();
        let expected = if function == "refuses" { "refused" } else { "failed" };
        assert_eq!((outcome.as_str(), output.status.code()), (Some(expected), Some(1)), "{function}");
    }
    // Infinity where a variance is too large for the float32 it is stored in, and there alone.
    for (function, case, expected) in [
        ("stored_in_float32", "deviation-1e30", "passed"),
        ("overflows", "deviation-1e30", "passed"),
        ("overflows", "cs231n-4x5-f32", "failed"),
    ] {
        let output = run(&python, &[&format!("spoiled:{function}"), "--only", case, "--json"]);
        let outcome = verdicts(&output).iter().find(|v| v["case"] == case).expect("it was run")["outcome"].clone();
        assert_eq!(outcome, expected, "{function} {case}");
    }
    // What follows the normalisation: who does not ask for it is not judged, who asks is.
    for (function, expected, code) in [("right", "skipped", 2), ("forgets_the_rectifier", "failed", 1)] {
        let output = run(&python, &[&format!("spoiled:{function}"), "--only", "relu-normal", "--json"]);
        let verdict = verdicts(&output).remove(0);
        assert_eq!((verdict["outcome"].as_str(), output.status.code()), (Some(expected), Some(code)), "{verdict}");
    }
    // What one function does to its arrays is no matter to the next.
    let output = run(&python, &["spoiled:overwrites", "spoiled:right", "--level", "easy", "--only", "size", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let output = run(&python, &["spoiled:nothing", "--only", "cs231n"]);
    assert_eq!(output.status.code(), Some(2), "nothing that was judged is nothing that passed");
    // A name that no output has fails; one that is left out is said.
    let output = run(&python, &["spoiled:misspells", "--only", "cs231n-4x5", "--json"]);
    let verdict = verdicts(&output).remove(0);
    assert_eq!((verdict["outcome"].as_str(), output.status.code()), (Some("failed"), Some(1)), "{verdict}");
    let reason = verdict["reason"].as_str().expect("a reason");
    assert!(reason.contains("gives 'varianse', which is no output's name (is 'variance' meant?)"), "{reason}");
    let output = run(&python, &["spoiled:leaves_out", "--only", "cs231n-4x5"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("not judged, for it did not come: ") && text.contains("variance in"),
        "{text}"
    );
    // Who refuses everything passes nothing, whichever cases are run; who answers some may refuse what makes no sense.
    for arguments in [&["spoiled:refuses", "--json"][..], &["spoiled:refuses", "--only", "refus", "--json"]] {
        let output = run(&python, arguments);
        let all = verdicts(&output);
        assert!(!all.is_empty() && all.iter().all(|verdict| verdict["outcome"] == "refused"), "{arguments:?}");
        assert_eq!(output.status.code(), Some(1));
    }
    let passed =
        right.iter().filter(|v| v["outcome"] == "passed" && v["reason"].as_str().unwrap_or("").contains("refused"));
    assert!(passed.count() > 0, "a refusal that is asked for");
    for (arguments, says) in [
        (&["no-such-thing"][..], "no-such-thing' is none of exactly, numpy, onnxruntime, torch"),
        (&["no_module:right"], "no_module:right: expected module:function"),
        (&["spoiled:no_function"], "spoiled:no_function: expected module:function"),
        (&["numpy", "--cases", "."], "--cases .: expected a folder with index.json"),
        (&["numpy", "--only", "no-such-case"], "no case is left by --only and --level"),
    ] {
        let output = run(&python, arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(says) && message.lines().count() == 1, "{message}");
    }
}
