//! `batchnorm compare` as a person calls it: bad arguments, a tiny comparison, going on with one, folders and pipes.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{folder, may_lose_its_reader, refused, text};

/// `batchnorm compare` with these arguments, in a folder of its own.
fn compare(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the program starts")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    support::command(folder, &[&["compare"], arguments].concat())
}

fn stored(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("batchnorm-compare/compare.json")).expect("compare.json is there");
    serde_json::from_str(&text).expect("compare.json is JSON")
}

/// What tells a run that was kept from one that was done again: its time.
fn kept(run: &Value) -> (&Value, &Value, &Value) {
    (&run["arm"], &run["fingerprint"], &run["seconds"])
}

#[test]
fn bad_arguments_are_named_and_nothing_is_written() {
    let folder = folder();
    let bad: &[(&[&str], &[&str])] = &[
        (&["--seeds", "0"], &["--seeds", "0"]),
        (&["--seeds", "-1"], &["--seeds", "-1"]),
        (&["--seeds", "many"], &["--seeds", "many"]),
        (&["--seeds", "99999999"], &["--seeds", "99999999"]),
        (&["--seeds", "3,3"], &["--seeds", "different", "3"]),
        (&["--seeds", "3,x"], &["--seeds", "`x`"]),
        (&["--seeds", "3,"], &["--seeds"]),
        (&["--steps", "0"], &["--steps", "0"]),
        (&["--steps", "-5"], &["--steps", "-5"]),
        (&["--steps", "1e3"], &["--steps", "1e3"]),
        (&["--steps", "99999999999"], &["--steps", "99999999999"]),
        (&["--target", "0"], &["--target", "0"]),
        (&["--target", "1.5"], &["--target", "1.5"]),
        (&["--target", "95"], &["--target", "95"]),
        (&["--target", "nan"], &["--target", "NaN"]),
        (&["--target", "-0.5"], &["--target", "-0.5"]),
        (&["--learning-rate", "0"], &["--learning-rate", "0"]),
        (&["--learning-rate", "-0.1"], &["--learning-rate", "-0.1"]),
        (&["--learning-rate", "NaN"], &["--learning-rate", "NaN"]),
        (&["--learning-rate", "inf"], &["--learning-rate", "inf"]),
        (&["--learning-rate", "fast"], &["--learning-rate", "fast"]),
        (&["--batch-size", "0"], &["--batch-size", "0"]),
        (&["--batch-size", "1"], &["--batch-size", "two values"]),
        (&["--batch-size", "1438"], &["--batch-size", "1437", "1438"]),
        (&["--evaluate-every", "0"], &["--evaluate-every", "0"]),
        (&["--threads", "0"], &["--threads", "0"]),
        (&["--threads", "1000000"], &["--threads", "1000000"]),
    ];
    for (arguments, parts) in bad {
        refused(&compare(folder.path(), arguments), 2, parts);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_tiny_comparison_is_written_printed_and_gone_on_with() {
    let folder = folder();
    let tiny = ["--seeds", "1", "--steps", "20", "--evaluate-every", "5", "--learning-rate", "0.5"];
    let output = compare(folder.path(), &tiny);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [
        "without, rate 0.5",
        "batch norm, rate 0.5",
        "steps to 95.0 %",
        "not within 20 steps",
        "report.html",
        "compare.json",
    ] {
        assert!(text(&output.stdout).contains(part), "{}", text(&output.stdout));
    }

    let first = stored(folder.path());
    assert_eq!(first["complete"], true);
    assert_eq!(first["settings"]["steps"], 20);
    assert!(first["command"].as_str().unwrap().contains("--learning-rate 0.5"));
    assert!(first["machine"]["cores"].as_u64().unwrap() >= 1);
    let runs = first["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert_eq!(run["ending"]["how"], "finished");
        assert_eq!(run["target"], Value::Null);
        let steps: Vec<u64> =
            run["curve"].as_array().unwrap().iter().map(|point| point["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [0, 5, 10, 15, 20]);
    }
    assert_eq!(first["summary"]["factors"][0]["steps"], Value::Null);

    // The same command runs nothing and says the same.
    let again = compare(folder.path(), &tiny);
    assert!(text(&again.stderr).contains("--restart"));
    assert_eq!(again.stdout, output.stdout);
    assert_eq!(kept(&stored(folder.path())["runs"][1]), kept(&first["runs"][1]));

    // A run that is missing is done again, the other one is kept, and the weights end the same.
    let path = folder.path().join("batchnorm-compare/compare.json");
    let mut shortened = first.clone();
    shortened["runs"].as_array_mut().unwrap().remove(1);
    shortened["complete"] = false.into();
    std::fs::write(&path, shortened.to_string()).unwrap();
    assert!(compare(folder.path(), &tiny).status.success());
    let resumed = stored(folder.path());
    assert_eq!(resumed["complete"], true);
    assert_eq!(kept(&resumed["runs"][0]), kept(&first["runs"][0]));
    assert_eq!(resumed["runs"][1]["fingerprint"], first["runs"][1]["fingerprint"]);

    // Other settings do not mix.
    let other = compare(folder.path(), &["--seeds", "2", "--steps", "30", "--learning-rate", "0.5"]);
    refused(&other, 2, &["--output-dir", "steps: 20 there, 30 now", "seeds: [1] there, [1, 2] now", "--restart"]);
    assert_eq!(stored(folder.path()), resumed);
    let restarted = compare(folder.path(), &["--seeds", "7,9", "--steps", "5", "--restart", "--json"]);
    assert!(restarted.status.success(), "{}", text(&restarted.stderr));
    let summary: Value = serde_json::from_slice(&restarted.stdout).unwrap();
    assert_eq!(summary["settings"]["seeds"], serde_json::json!([7, 9]));
    assert_eq!(summary["summary"]["arms"][0]["runs"], 2);
    assert_eq!(stored(folder.path())["summary"], summary["summary"]);
}

#[test]
fn a_file_that_is_no_comparison_is_left_alone() {
    let folder = folder();
    let own = folder.path().join("batchnorm-compare");
    std::fs::create_dir(&own).unwrap();
    for content in ["", "[1, 2", "{\"format\": \"somebody else's\"}", "{\"format\": \"batchnorm-compare 1\"}"] {
        std::fs::write(own.join("compare.json"), content).unwrap();
        refused(&compare(folder.path(), &["--steps", "5"]), 3, &["compare.json", "--output-dir", "--restart"]);
        assert_eq!(std::fs::read_to_string(own.join("compare.json")).unwrap(), content);
    }
}

#[test]
fn a_folder_that_cannot_be_written_fails_before_the_run() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    // Ten million steps: it would not come back if it ran first.
    let long = |output_dir| compare(folder.path(), &["--steps", "10000000", "--output-dir", output_dir]);
    refused(&long("file"), 5, &["file"]);
    refused(&long("file/below"), 5, &["file"]);
    #[cfg(target_os = "linux")]
    refused(&long("/proc/batchnorm"), 5, &["/proc/batchnorm"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "content");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = folder();
    may_lose_its_reader(command(folder.path(), &["--seeds", "1", "--steps", "5"]));
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_is_finished() {
    let folder = folder();
    let arguments = ["--seeds", "1", "--steps", "300", "--learning-rate", "0.5"];
    let child = command(folder.path(), &arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
    // Until the first run is stored; then there is another run's time to interrupt.
    let path = folder.path().join("batchnorm-compare/compare.json");
    let finished = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("fingerprint"));
    while !finished() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    refused(&output, 130, &["interrupted", "1 of 2 runs", "same command goes on"]);
    let partial = stored(folder.path());
    assert_eq!(partial["complete"], false);
    let report = || std::fs::read_to_string(folder.path().join("batchnorm-compare/report.html")).unwrap();
    assert!(report().contains("1 of 2 runs are finished"));

    assert!(compare(folder.path(), &arguments).status.success());
    let whole = stored(folder.path());
    assert_eq!(whole["complete"], true);
    assert!(!report().contains("Incomplete:"));
    assert_eq!(kept(&whole["runs"][0]), kept(&partial["runs"][0]));
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf8_are_shown_as_they_can_be() {
    let folder = folder();
    let summary = support::json_with_odd_path(
        folder.path(),
        &["compare", "--seeds", "1", "--steps", "5", "--json", "--output-dir"],
    );
    assert!(summary["file"].as_str().unwrap().contains('\u{fffd}'));
}
