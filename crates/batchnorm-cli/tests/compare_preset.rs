//! `batchnorm compare --preset`: claims that are run again, and what the reports say of them.

#![cfg(feature = "train")]

use std::fs;
use std::path::Path;

use batchnorm_lab::grid::{Cell, Study};
use batchnorm_lab::look::Reading;
use batchnorm_lab::report;
use serde_json::Value;
use support::{done, folder, refused, run, text};

mod browser;
mod markup;
mod support;

use browser::Browser;
use markup::{page_is_whole, tags_are_closed};

fn study(folder: &Path) -> Study {
    let mut whole: Value = serde_json::from_slice(&fs::read(folder.join("grid.json")).unwrap()).unwrap();
    assert_eq!(whole["format"], "batchnorm-grid 2");
    serde_json::from_value(whole["study"].take()).unwrap()
}

#[test]
fn a_preset_runs_and_its_reports_say_what_its_file_says() {
    let folder = folder();
    let preset = ["compare", "--preset", "batch-statistics", "--quick", "--seeds", "3", "--output-dir", "out"];
    let told = run(folder.path(), &preset);
    done(&told);
    let out = folder.path().join("out/batch-statistics-quick");
    let (study, read) = (study(&out), |name: &str| fs::read_to_string(out.join(name)).expect(name));
    let page = read("grid.html");
    assert!(page == report::study_html(&study) && read("grid.md") == report::study_markdown(&study));
    page_is_whole(&page, 3);
    // Sorted batches, worked out anew from the cells, in table, page, compact report and terminal.
    let sorted = "accuracy, by batches of 36 sorted by class";
    let of_cell = |cell: &Cell| cell.trial.readings.iter().find(|reading| reading.what == sorted).unwrap().value;
    let values: Vec<f64> = study.cells.iter().map(of_cell).collect();
    let mean = values.iter().sum::<f64>() / 3.0;
    let shown = format!("{:.1} %", 100.0 * mean);
    assert!(mean < 0.5, "batches of one class say nothing of the class: {values:?}");
    let change = 100.0 * (mean - study.cells.iter().map(|cell| cell.trial.accuracy.unwrap()).sum::<f64>() / 3.0);
    for (name, said) in
        [("page", page.clone()), ("compact", read("grid.md")), ("terminal", text(&told.stdout).to_owned())]
    {
        let said = said.replace("\u{a0}", " ");
        for part in [&shown, &format!("{change:+.2} points"), "lower"] {
            assert!(said.contains(part), "{name}: no {part}");
        }
        // In its quick form it is on other data than those of the published figure.
        assert!(!said.contains("15.7 %") && !said.contains("PyTorch"), "{name}");
    }
    tags_are_closed(&read("grid.svg"));
    // Nothing is done again.
    let again = run(folder.path(), &preset);
    assert!(text(&again.stderr).contains("All 3 cells"), "{again:?}");
    if let Some(browser) = Browser::find_or_say("the report of a preset") {
        browser.shows(&out.join("grid.html"), &page);
    }
}

#[test]
fn folding_changes_no_class_and_its_sizes_are_in_every_report() {
    let folder = folder();
    let told = run(folder.path(), &["compare", "--preset", "fold", "--quick", "--seeds", "3", "--output-dir", "out"]);
    done(&told);
    let out = folder.path().join("out/fold-quick");
    let study = study(&out);
    assert_eq!((study.cells.len(), study.question.claims.as_slice()), (3, [19].as_slice()));
    for cell in &study.cells {
        let of = |what: &str| cell.trial.readings.iter().find(|reading| reading.what == what).expect(what).value;
        assert!(of("the same over the largest score") < 1e-5);
        assert_eq!(of("test examples put in another class by folding"), 0.0);
        assert_eq!(Some(of("accuracy, folded")), cell.trial.accuracy);
    }
    let read = |name: &str| fs::read_to_string(out.join(name)).expect(name);
    for said in [read("grid.html"), read("grid.md"), text(&told.stdout).to_owned()] {
        let said = said.replace("\u{a0}", " ");
        for part in ["largest change of a score", "put in another class", "0 (0 to 0)", "folded over unfolded"] {
            assert!(said.contains(part), "no {part}: {said}");
        }
    }
}

#[test]
fn a_setting_of_a_preset_is_changed_by_a_flag() {
    let folder = folder();
    let changed =
        ["compare", "--preset", "batch-size", "--vary", "batch-size=4,16", "--seeds", "1,7", "--tune", "lr=0.05,0.1"];
    let base = ["--output-dir", "out", "--", "--data", "digits", "--steps", "40", "--hidden", "20"];
    done(&run(folder.path(), &[&changed[..], &base].concat()));
    let study = study(&folder.path().join("out/batch-size"));
    let arms: Vec<&str> = study.question.arms.iter().map(|arm| arm.name.as_str()).collect();
    assert_eq!(arms.len(), 6, "{arms:?}");
    assert!(arms.contains(&"norm group, batch-size 16") && study.question.seeds == [1, 7]);
    assert!(study.cells.iter().all(|cell| cell.trial.steps == 40));
    assert!(study.flags.contains(&String::from("--hidden=20")) && study.flags.contains(&String::from("--data=digits")));
    // What was published is of other settings now.
    assert!(study.question.published.is_empty() && !study.question.before.is_empty());
    for sweep in &study.sweeps {
        let best = sweep.accuracies.iter().map(|(_, accuracy)| accuracy.unwrap()).fold(0.0, f64::max);
        let chosen = sweep.accuracies.iter().find(|(value, _)| *value == sweep.chosen).unwrap();
        assert_eq!(chosen.1, Some(best));
        // On 143 or 144 of the 1,437 images to train on, a tenth of each class, and not on the 360 to test with.
        let right = best * 144.0;
        let on_some =
            [142.0, 143.0, 144.0, 145.0].into_iter().any(|count| (best * count - (best * count).round()).abs() < 1e-9);
        assert!(on_some, "{right} of a tenth");
    }
    assert_eq!(study.sweeps.len(), 6);
}

#[test]
fn what_is_frozen_stays_and_what_it_starts_from_is_trained_first() {
    let folder = folder();
    let preset = [
        "compare",
        "--preset",
        "transfer",
        "--quick",
        "--seeds",
        "2",
        "--tune",
        "lr=0.1",
        "--read",
        "weights,variances",
    ];
    let flags = ["--output-dir", "out", "--", "--epochs", "3", "--activation", "relu"];
    done(&run(folder.path(), &[&preset[..], &flags].concat()));
    let study = study(&folder.path().join("out/transfer-quick"));
    // (The network is that of the training that the others start from.)
    let source = ["--network=mlp", "--data=digits", "--classes=0,1,2,3,4", "--epochs=20", "--activation=relu"];
    assert_eq!(study.source, source);
    assert_eq!(study.data.len(), 2, "{:?}", study.data);
    let readings = |cell: &Cell, what: &str, layer: &str| -> Vec<f64> {
        let of_layer = |of: &&Reading| of.what == what && of.layer.as_deref() == Some(layer);
        cell.trial.readings.iter().filter(of_layer).map(|reading| reading.value).collect()
    };
    let norms = |cell: &Cell, layer: &str| readings(cell, "weight norm", layer);
    // What the same seeds start with where no network is trained first.
    let fresh = ["compare", "--vary", "norm=batch,none", "--seeds", "2", "--read", "weights", "--output-dir", "fresh"];
    done(&run(folder.path(), &[&fresh[..], &["--", "--network", "mlp", "--steps", "1"]].concat()));
    let fresh = self::study(&folder.path().join("fresh"));
    for cell in &study.cells {
        let (body, head) = (norms(cell, "hidden.0"), norms(cell, "output"));
        assert!(body.len() >= 2 && head[0] != head[head.len() - 1]);
        assert_eq!(body[0] == body[body.len() - 1], cell.arm != "all trained", "{}: {body:?}", cell.arm);
        let of_seed = fresh.cells.iter().find(|other| other.seed == cell.seed).unwrap();
        assert_ne!(norms(of_seed, "hidden.0")[0], body[0], "it starts from no trained network");
        // How far statistics are from the new data is read off frozen norms too, which stay as far.
        let off = readings(cell, "running mean off by deviations", "hidden.0");
        let (first, last) = (off[0], off[off.len() - 1]);
        assert!(first > 0.1, "{off:?}");
        match ["body frozen", "gamma and beta trained"].contains(&cell.arm.as_str()) {
            true => assert_eq!(first, last, "{}", cell.arm),
            false => assert!(last < 0.6 * first, "{}: {off:?}", cell.arm),
        }
    }
}

#[test]
fn what_cannot_be_is_one_line() {
    let folder = folder();
    let refused_by = |arguments: &[&str], code: i32, parts: &[&str]| {
        refused(&run(folder.path(), &[&["compare"], arguments].concat()), code, parts);
    };
    refused_by(&["--preset", "batch-size", "--", "--norm", "none"], 2, &["behind --", "--norm", "--vary norm="]);
    refused_by(&["--preset", "batch-size", "--", "--learning-rate", "1"], 2, &["behind --", "--learning-rate"]);
    refused_by(&["--preset", "batch-size", "--", "--seed", "1"], 2, &["behind --", "--seed"]);
    refused_by(&["--preset", "batch-size", "--beside", "placement"], 2, &["--beside", "norm, batch-size", "placement"]);
    refused_by(&["--preset", "batch-size", "--over", "placement"], 2, &["--over", "placement"]);
    refused_by(&["--preset", "batch-size", "--read", "batch:1"], 2, &["--read", "batch:1", "recalibrated"]);
    refused_by(&["--preset", "batch-size", "--tune", "lr"], 2, &["--tune", "lr"]);
    refused_by(&["--preset", "batch-size", "--tune", "batch-size=2,4"], 2, &["--tune", "not every arm says itself"]);
    refused_by(&["--preset", "batch-size", "--", "--help"], 2, &["behind --", "--help"]);
    refused_by(&["--preset", "ioffe", "--vary", "lr=0.1,1"], 2, &["--vary", "ReLU, batch norm", "learning-rate"]);
    refused_by(&["--preset", "ioffe", "--", "--norm", "none"], 2, &["behind --", "do not say themselves", "--norm"]);
    refused_by(&["--preset", "batch-size", "--seeds", "2,2"], 2, &["--seeds", "each different"]);
    fs::write(
        folder.path().join("table.csv"),
        "1,0,0\n2,1,1\n3,0,0\n4,1,1\n5,0,0\n6,1,1\n7,0,0\n8,1,1\n9,0,0\n10,1,1\n",
    )
    .unwrap();
    let table =
        ["--vary", "norm=none,layer", "--read", "shift:noise=0.3", "--", "--data", "table.csv", "--batch-size", "2"];
    refused_by(&table, 2, &["--read", "pictures", "2 features", "shift:noise=0.3"]);
    refused_by(&["--all", "--threads", "0"], 2, &["--threads", "0"]);
    refused_by(&["--vary", "norm=none,batch", "--quick"], 2, &["--quick", "--preset"]);
    refused_by(&["--quick"], 2, &["--quick", "--preset"]);
    refused_by(&["--", "--epochs", "3"], 2, &["behind --", "--vary or --preset"]);
    refused_by(&["--read", "training"], 2, &["--read", "--vary or --preset"]);
    let unknown = run(folder.path(), &["compare", "--preset", "batchsize"]);
    let said = text(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && said.contains("batch-size") && said.contains("ioffe"), "{said}");
    assert!(!folder.path().join("batchnorm-compare").exists());
}
