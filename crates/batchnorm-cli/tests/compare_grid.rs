//! `batchnorm compare --vary`: grids of trainings, whose cells are done once.

#![cfg(feature = "train")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{command, done, folder, refused, run, text};

/// Cells that take a blink.
const SMALL: [&str; 9] = ["--", "--network", "mlp", "--hidden", "8", "--examples", "300", "--steps", "30"];

fn grid(folder: &Path, arguments: &[&str], base: &[&str]) -> std::process::Output {
    run(folder, &[&["compare"], arguments, base].concat())
}

fn json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("grid.json")).unwrap()).unwrap()
}

/// When each cell was written, by name.
fn cells(folder: &Path) -> BTreeMap<String, SystemTime> {
    let files = fs::read_dir(folder.join("cells")).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().modified().unwrap())).collect()
}

/// Accuracies of the cells, by arm and seed.
fn accuracies(folder: &Path) -> Vec<(String, u64, f64)> {
    let cell = |cell: &Value| {
        let accuracy = cell["trial"]["accuracy"].as_f64().unwrap();
        (cell["arm"].as_str().unwrap().to_owned(), cell["seed"].as_u64().unwrap(), accuracy)
    };
    json(folder)["study"]["cells"].as_array().unwrap().iter().map(cell).collect()
}

#[test]
fn a_grid_has_every_value_with_every_other_and_no_cell_is_done_twice() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let vary = ["--vary", "norm=none,batch", "--vary", "lr=0.02,0.1", "--seeds", "3", "--output-dir", "out"];
    let told = grid(folder.path(), &[&vary[..], &["--target", "0.5"]].concat(), &SMALL);
    done(&told);
    let said = text(&told.stdout);
    for part in [
        "norm none, learning-rate 0.02",
        "norm batch, learning-rate 0.1",
        "3 pairs",
        "steps to 50.0 %",
        "95 % interval",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let first = cells(&at("out"));
    assert_eq!((first.len(), accuracies(&at("out")).len()), (12, 12));
    let table = fs::read_to_string(at("out/grid.csv")).unwrap();
    assert_eq!(table.lines().count(), 13, "{table}");
    // A wider grid and another target: the cells that are there stay, by their training, whatever their arms are called now.
    std::thread::sleep(Duration::from_millis(20));
    let wider = ["--vary", "lr=0.02,0.1,0.3", "--vary", "norm=none,batch", "--seeds", "4", "--output-dir", "out"];
    done(&grid(folder.path(), &wider, &SMALL));
    let second = cells(&at("out"));
    assert_eq!(second.len(), 24);
    assert!(first.iter().all(|(name, time)| second[name] == *time), "a cell was done again");
    // The same on any number of threads, cell for cell.
    let one = [
        "--vary",
        "lr=0.02,0.1,0.3",
        "--vary",
        "norm=none,batch",
        "--seeds",
        "4",
        "--output-dir",
        "one",
        "--threads",
        "1",
    ];
    done(&grid(folder.path(), &one, &SMALL));
    assert_eq!(accuracies(&at("out")), accuracies(&at("one")));
    let again = grid(folder.path(), &[&one[..], &["--json"]].concat(), &SMALL);
    assert!(text(&again.stderr).contains("All 24 cells"), "{again:?}");
    let figures: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(figures["figures"]["beside"].as_array().unwrap().len(), 5);
}

#[test]
fn a_grid_that_is_killed_goes_on_with_the_cells_that_are_missing() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let base = ["--", "--network", "mlp", "--hidden", "60", "--steps", "400"];
    let all = [
        &["compare", "--vary", "norm=none,batch,layer", "--seeds", "4", "--output-dir", "out", "--threads", "2"],
        &base[..],
    ]
    .concat();
    let mut child = command(folder.path(), &all).spawn().expect("the program starts");
    let deadline = SystemTime::now() + Duration::from_secs(60);
    // (Not what is just being written, beside its place.)
    let finished = |name: &String| name.ends_with(".json") && !name.starts_with('.');
    while !at("out/cells").is_dir() || cells(&at("out")).keys().filter(|name| finished(name)).count() < 3 {
        assert!(SystemTime::now() < deadline, "no cells");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before: BTreeMap<_, _> = cells(&at("out")).into_iter().filter(|(name, _)| finished(name)).collect();
    assert!((3..12).contains(&before.len()), "{} cells", before.len());
    done(&run(folder.path(), &all));
    let after = cells(&at("out"));
    assert!(after.keys().all(finished) && after.len() == 12, "{after:?}");
    assert!(before.iter().all(|(name, time)| after[name] == *time), "a cell was done again");
}

#[test]
fn arms_that_ask_for_the_same_training_share_it() {
    let folder = folder();
    let vary = ["--vary", "lr=0.1,0.10,0.2", "--seeds", "3", "--output-dir", "out"];
    done(&grid(folder.path(), &vary, &SMALL));
    let out = folder.path().join("out");
    assert_eq!((cells(&out).len(), accuracies(&out).len()), (6, 9));
    let said = text(&grid(folder.path(), &vary, &SMALL).stdout).to_owned();
    assert!(
        said.contains("learning-rate 0.10 beside learning-rate 0.1: test accuracy no difference shown: +0.00"),
        "{said}"
    );
    // What defaults add to what was asked is said.
    let vary = ["--vary", "norm=none,batch", "--seeds", "1", "--output-dir", "norms"];
    let said = text(&grid(folder.path(), &vary, &SMALL).stdout).to_owned();
    assert!(
        said.contains("By their defaults the arms differ in the learning-rate too: 0.02 (norm none), 0.1 (norm batch)"),
        "{said}"
    );
    // Values with commas of their own stand between semicolons.
    let vary = ["--vary", "hidden=8;8,8", "--seeds", "1", "--output-dir", "deep"];
    let told = grid(folder.path(), &vary, &["--", "--network", "mlp", "--steps", "5"]);
    assert!(text(&told.stdout).contains("hidden 8,8"), "{told:?}");
}

#[test]
fn what_diverges_is_counted_and_not_compared() {
    let folder = folder();
    let vary = ["--vary", "lr=0.1,1e6", "--seeds", "3", "--output-dir", "out", "--target", "0.99"];
    let told = grid(folder.path(), &vary, &SMALL);
    done(&told);
    let said = text(&told.stdout);
    assert!(
        said.contains("3 of 3 diverged") && said.contains("no pair to compare (3 seeds lost to divergence)"),
        "{said}"
    );
    assert!(said.contains("reached in 0 of 3"), "{said}");
}

#[test]
fn what_is_no_grid_is_one_line() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("broken/cells")).unwrap();
    let refused_by = |arguments: &[&str], base: &[&str], code: i32, parts: &[&str]| {
        refused(&grid(folder.path(), &[arguments, &["--output-dir", "out"]].concat(), base), code, parts);
    };
    refused_by(&["--vary", "norm"], &[], 2, &["--vary", "norm=none,batch"]);
    refused_by(&["--vary", "norm="], &[], 2, &["--vary"]);
    refused_by(&["--vary", "norm=none,none"], &[], 2, &["--vary", "differ"]);
    refused_by(&["--vary", "lr=1,2", "--vary", "learning-rate=3"], &[], 2, &["--vary", "each setting once"]);
    refused_by(&["--vary", "seed=1,2"], &[], 2, &["--vary", "--seed"]);
    refused_by(&["--vary", "nom=none,batch"], &[], 2, &["train", "--nom"]);
    refused_by(&["--vary", "norm=none,batsch"], &[], 2, &["train", "batsch"]);
    refused_by(&["--vary", "norm=none,batch"], &["--", "--output", "x"], 2, &["behind --", "--output"]);
    refused_by(&["--vary", "norm=none,batch"], &["--", "--data", "missing"], 3, &["--data", "missing"]);
    refused_by(&["--vary", "norm=none,batch", "--target", "2"], &[], 2, &["--target", "2"]);
    refused_by(&["--vary", "norm=none,batch", "--threads", "0"], &[], 2, &["--threads", "0"]);
    refused_by(&["--vary", "norm=none,batch", "--seeds", "0"], &[], 2, &["--seeds"]);
    // A cell of something else is named, not replaced.
    let vary = ["--vary", "norm=none,batch", "--seeds", "1", "--output-dir", "kept"];
    done(&grid(folder.path(), &vary, &SMALL));
    let cell = folder.path().join("kept/cells").join(cells(&folder.path().join("kept")).keys().next().unwrap());
    fs::write(&cell, "{}").unwrap();
    refused(&grid(folder.path(), &vary, &SMALL), 3, &["kept/cells", "--restart"]);
    assert_eq!(fs::read_to_string(&cell).unwrap(), "{}");
}
