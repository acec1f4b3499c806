//! `batchnorm inspect --data`: which layer breaks a model, as a table, as JSON and as a page with the same numbers.

use std::fs;
use std::path::Path;

use batchnorm_model::file::ModelFile;
use batchnorm_model::statistics::Statistics;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::markup::page_is_whole;
use crate::recalibrate::{put_data, put_labels};
use crate::support::{command, done, folder, refused, run, text};
use crate::{healthy, models};

/// The healthy network with a classifier behind it.
fn classifier() -> Vec<u8> {
    let mut model = healthy();
    model.graph.nodes.extend([
        models::node("GlobalAveragePool", &["y"], &["p"], &[]),
        models::node("Flatten", &["p"], &["f"], &[]),
        models::node("MatMul", &["f", "w"], &["z"], &[]),
    ]);
    model.graph.initializers.push(models::weights("w", &[4, 3]));
    model.graph.outputs = vec![models::shapeless("z")];
    model.to_bytes()
}

/// A model whose statistics are those of `x.npy`, as `healthy.onnx`, and the same with those of its second norm times 4, as `broken.onnx`.
pub fn put_models(folder: &Path) {
    put_data(folder, "x.npy", &[240, 3, 9, 9]);
    fs::write(folder.join("model.onnx"), classifier()).unwrap();
    done(&run(folder, &["recalibrate", "model.onnx", "healthy.onnx", "--data", "x.npy"]));
    let file = ModelFile::open(&folder.join("healthy.onnx")).unwrap();
    let norm = file.measurable().unwrap().into_iter().find(|norm| norm.name == "bn2").unwrap();
    let parameters = file.parameters("bn2").unwrap().unwrap().unwrap();
    let times = |numbers: &[f64]| numbers.iter().map(|number| 4.0 * number).collect();
    let [mean, variance] = [parameters.mean.to_vec(), parameters.variance.to_vec()];
    let statistics = Statistics { mean: times(&mean), variance: times(&variance) };
    fs::write(folder.join("broken.onnx"), file.with_statistics(&[(norm.node.unwrap(), statistics)]).unwrap()).unwrap();
}

#[test]
fn the_layer_that_breaks_a_model_is_named_and_a_healthy_one_has_none() {
    let folder = folder();
    put_models(folder.path());
    put_labels(folder.path(), &[0; 240]);
    let whole = |file: &str| -> Value {
        let command = ["inspect", file, "--data", "x.npy", "--labels", "labels.csv", "--json"];
        serde_json::from_str(done(&run(folder.path(), &command))).unwrap()
    };
    let healthy = whole("healthy.onnx");
    assert_eq!((&healthy["gap"]["culprits"], &healthy["gap"]["samples"]), (&json!([]), &json!(240)));
    assert!(healthy["gap"]["outputs"]["change"].as_f64().unwrap() < 1e-5);
    assert!(healthy["gap"]["layers"].as_array().unwrap().iter().all(|layer| layer["beyond_errors"] == false));
    let said = run(folder.path(), &["inspect", "healthy.onnx", "--data", "x.npy"]);
    assert!(done(&said).contains("No gap: none of the 2 batch norms"), "{}", done(&said));

    let broken = whole("broken.onnx");
    let [first, second] = [0, 1].map(|at| &broken["gap"]["layers"][at]);
    assert_eq!(
        (&broken["gap"]["culprits"], &first["name"], &first["makes_the_gap"]),
        (&json!(["bn2"]), &json!("bn2"), &json!(true))
    );
    for way in ["all_but_this", "only_this"] {
        let [one, other] = [first, second].map(|layer| layer[way]["change"].as_f64().unwrap());
        assert!(other <= one / 10.0, "{way}: {one}, {other}");
        assert!(first[way]["right_after"].is_u64());
    }
    // The command that mends has the flags that were given; it does what is said.
    let said = run(folder.path(), &["inspect", "broken.onnx", "--batch=3", "--data", "x.npy"]);
    let mend = "this mends it: batchnorm recalibrate broken.onnx broken.recalibrated.onnx --data x.npy --batch 3\n";
    assert!(
        done(&said).contains("One batch norm makes the gap: bn2.") && done(&said).contains(mend),
        "{}",
        done(&said)
    );
    let command: Vec<&str> = mend.trim().split(' ').skip(4).collect();
    done(&run(folder.path(), &command));
    let said = run(folder.path(), &["inspect", "broken.recalibrated.onnx", "--data", "x.npy"]);
    assert!(done(&said).contains("No gap: none of the 2 batch norms"), "{}", done(&said));
    // Without data nothing is measured, and nothing is said of it.
    let plain: Value = serde_json::from_str(done(&run(folder.path(), &["inspect", "broken.onnx", "--json"]))).unwrap();
    assert!(plain["gap"].is_null());
}

#[test]
fn the_pages_numbers_are_the_commands_numbers() {
    let folder = folder();
    put_models(folder.path());
    put_labels(folder.path(), &[0; 240]);
    let command = ["inspect", "broken.onnx", "--data", "x.npy", "--labels", "labels.csv", "--html", "gap.html"];
    let output = run(folder.path(), &command);
    let page = fs::read_to_string(folder.path().join("gap.html")).unwrap();
    assert!(text(&output.stderr).contains("wrote gap.html"), "{}", text(&output.stderr));
    page_is_whole(&page, 5);
    let (_, gap) = done(&output).split_once("The gap between training and use\n").unwrap();
    let rows: Vec<Vec<&str>> = gap
        .lines()
        .filter(|line| line.starts_with('│'))
        .map(|line| line.trim_matches('│').split('┆').map(str::trim).collect())
        .collect();
    let [columns, layers @ ..] = &rows[..] else { panic!("no rows") };
    assert_eq!((columns.len(), layers.len()), (8, 2));
    for row in layers {
        let mut expected = format!("<tr><th scope=\"row\"><span class=\"of\">{}</span> {}</th>", columns[0], row[0]);
        for (column, cell) in columns.iter().zip(row).skip(1) {
            expected += &format!("<td data-column=\"{column}\">{}</td>", cell.replace(" %", "\u{a0}%"));
        }
        assert!(page.contains(&expected), "{expected} is not in the page");
    }
    // And its sentences.
    for line in gap.lines().filter(|line| {
        line.starts_with("With statistics") || line.starts_with("Right answers") || line.starts_with("One batch norm")
    }) {
        assert!(page.contains(&format!("<p>{}</p>", line.replace(" %", "\u{a0}%"))), "{line}");
    }
    if let Some(browser) = Browser::find_or_say("the page of the gap") {
        browser.shows(&folder.path().join("gap.html"), &page);
    }
}

#[cfg(unix)]
#[test]
fn interrupted_it_goes_on_from_what_is_finished() {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    let folder = folder();
    put_models(folder.path());
    put_data(folder.path(), "many.npy", &[8000, 3, 9, 9]);
    // (A home of its own, where it keeps what is finished.)
    let inspect = || {
        let mut inspect = command(folder.path(), &["inspect", "broken.onnx", "--data", "many.npy", "--json"]);
        inspect.env("HOME", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        inspect
    };
    let gap = |output: &std::process::Output| {
        let mut whole: Value = serde_json::from_str(done(output)).unwrap();
        whole["gap"]["seconds"].take();
        whole["gap"].take()
    };
    let whole = inspect().output().unwrap();
    let unfinished = folder.path().join(".cache/batchnorm/unfinished");
    let kept = || {
        let is_whole = |file: &fs::DirEntry| !file.file_name().to_string_lossy().starts_with('.');
        fs::read_dir(&unfinished).map_or(0, |files| files.flatten().filter(is_whole).count())
    };
    assert_eq!(kept(), 0);
    let mut program = inspect().spawn().unwrap();
    while kept() == 0 && program.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap().success());
    let stopped = program.wait_with_output().unwrap();
    let said = text(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(130), "{said}");
    assert!(said.ends_with("batchnorm: interrupted; the same command goes on from what is finished\n"), "{said}");
    assert_eq!(kept(), 1);
    let rest = inspect().output().unwrap();
    assert!(text(&rest.stderr).contains("goes on from "), "{}", text(&rest.stderr));
    assert_eq!((gap(&rest), kept()), (gap(&whole), 0));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let folder = folder();
    put_models(folder.path());
    for (more, parts) in [
        (&["--data", "x.npy", "--github"][..], &["--github"][..]),
        (&["--header", "no"], &["--header", "--data"]),
        (&["--data", "x.npy", "--layer", "bn1"], &["--layer"]),
    ] {
        refused(&run(folder.path(), &[&["inspect", "broken.onnx"], more].concat()), 2, parts);
    }
    refused(&run(folder.path(), &["inspect", "broken.onnx", "--data", "gone.npy"]), 3, &["gone.npy"]);
    let folded = run(folder.path(), &["fold", "broken.onnx", "folded.onnx"]);
    done(&folded);
    refused(
        &run(folder.path(), &["inspect", "folded.onnx", "--data", "x.npy"]),
        4,
        &["no batch norm that can be measured"],
    );
}
