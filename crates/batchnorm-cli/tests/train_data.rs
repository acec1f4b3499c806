//! `batchnorm train --data`: every kind of data set is found, said, learnt and predicted; what is none is one line.

#![cfg(feature = "train")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::sets::{self, idx};
use support::{done, folder, refused, run, text};

fn train(folder: &Path, arguments: &[&str]) -> std::process::Output {
    run(folder, &[&["train"], arguments].concat())
}

/// What predict says of a set.
fn accuracy(folder: &Path, arguments: &[&str]) -> f64 {
    let all = [&["predict", "--json", "--model", "model"], arguments].concat();
    let said: Value = serde_json::from_str(done(&run(folder, &all))).expect("stdout is JSON");
    said["labelled_set"]["accuracy"].as_f64().expect("a labelled set")
}

#[test]
fn every_kind_of_set_is_found_said_and_learnt() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    sets::write_idx(&at("idx"), 90);
    sets::write_cifar(&at("cifar"));
    sets::write_pictures(&at("pictures"));
    fs::write(at("table.csv"), sets::table()).unwrap();
    // (name, what is said of it, how it is learnt)
    let cases: [(&str, &[&str], &[&str]); 5] = [
        (
            "idx",
            &["IDX files", "90 to train, 30 to test", "1x8x8", "3: 0, 1, 2"],
            &["--network", "mlp", "--epochs", "30"],
        ),
        (
            "cifar",
            &["CIFAR-10's batches", "100 to train, 20 to test", "3x32x32", "airplane"],
            &["--network", "mlp", "--augment", "none", "--epochs", "60"],
        ),
        (
            "pictures",
            &["a folder of pictures", "64 to train, 16 to test", "1x8x8", "2: above, left"],
            &["--network", "course", "--epochs", "20", "--batch-size", "16"],
        ),
        ("table.csv", &["a table", "240 to train, 60 to test", "3 features", "2: 0, 1"], &["--epochs", "40"]),
        (
            "digits",
            &["embedded", "1437 to train, 360 to test", "1x8x8", "as they are"],
            &["--unscaled", "--epochs", "10"],
        ),
    ];
    for (name, said, flags) in cases {
        let all = [&["--data", name, "--output", "model", "--restart"], flags].concat();
        let output = train(folder.path(), &all);
        done(&output);
        for part in said {
            assert!(text(&output.stderr).contains(part), "{name}: {} lacks {part:?}", text(&output.stderr));
        }
        let of_test = accuracy(folder.path(), &["--data", name]);
        assert!(of_test >= 0.9, "{name}: {of_test}");
        let shown = run(folder.path(), &["predict", "--model", "model", "--data", name]);
        assert!(done(&shown).starts_with("Accuracy: "), "{name}");
    }
}

#[test]
fn the_test_part_of_a_set_in_one_part_is_that_which_was_not_trained_on() {
    let folder = folder();
    fs::write(folder.path().join("table.csv"), sets::table()).unwrap();
    let of = ["--data", "table.csv", "--output", "model", "--test", "0.3", "--epochs", "2"];
    let said: Value = serde_json::from_str(done(&train(folder.path(), &[&of[..], &["--json"]].concat()))).unwrap();
    assert_eq!(said["data"]["test"], 90);
    let labelled = |part: &[&str]| {
        let all = [&["predict", "--json", "--model", "model", "--data", "table.csv"], part].concat();
        let output = run(folder.path(), &all);
        let set: Value = serde_json::from_str(done(&output)).unwrap();
        (set["labelled_set"].clone(), text(&output.stderr).to_owned())
    };
    let (test, quiet) = labelled(&[]);
    assert_eq!((&test["labelled"], &test["accuracy"], quiet.as_str()), (&90.into(), &said["test_accuracy"], ""));
    let (all, warned) = labelled(&["--part", "all"]);
    assert_eq!(all["labelled"], 300);
    assert!(warned.contains("was trained on"), "{warned}");
}

#[test]
fn pictures_in_two_parts_and_in_a_size_of_ones_choice() {
    let folder = folder();
    sets::write_pictures(&folder.path().join("set/train"));
    sets::write_pictures(&folder.path().join("set/test"));
    let flags = ["--data", "set", "--size", "6x10", "--hidden", "8", "--epochs", "10", "--output", "model"];
    let output = train(folder.path(), &flags);
    done(&output);
    for part in ["80 to train, 80 to test", "1x6x10"] {
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
    // Labelled folders, and single pictures, by the names of the classes.
    assert!(accuracy(folder.path(), &["set/test"]) >= 0.9);
    let shown = run(folder.path(), &["predict", "--model", "model", "set/test/left/03.png"]);
    assert!(done(&shown).contains("left"), "{}", text(&shown.stdout));
}

#[test]
fn what_is_no_set_is_one_line() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let set = |name: &str| sets::write_idx(&at(name), 12);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/notes.txt"), "nothing").unwrap();
    fs::write(at("words.txt"), "once upon a time").unwrap();
    fs::write(at("one-class.csv"), "a,class\n1,0\n2,0\n3,0\n").unwrap();
    fs::write(at("halves.csv"), "a,class\n1,0\n2,0.5\n3,1\n").unwrap();
    fs::write(at("nan.csv"), "a,class\n1,0\nnan,1\n3,1\n").unwrap();
    set("no-labels");
    fs::remove_file(at("no-labels/train-labels-idx1-ubyte.gz")).unwrap();
    set("cut");
    fs::write(at("cut/train-images-idx3-ubyte"), idx(&[12, 8, 8], &[0; 500])).unwrap();
    set("fewer");
    fs::write(at("fewer/train-labels-idx1-ubyte.gz"), idx(&[11], &[0; 11])).unwrap();
    set("gap");
    fs::write(at("gap/train-labels-idx1-ubyte.gz"), idx(&[12], &[0, 1, 2, 0, 1, 2, 0, 1, 200, 0, 1, 2])).unwrap();
    set("unknown");
    fs::write(at("unknown/t10k-labels-idx1-ubyte.gz"), idx(&[30], &[7; 30])).unwrap();
    set("shape");
    fs::write(at("shape/t10k-images-idx3-ubyte"), idx(&[30, 4, 16], &[0; 1920])).unwrap();
    sets::write_cifar(&at("label"));
    fs::write(at("label/data_batch_3.bin"), vec![10; 3073]).unwrap();
    sets::write_cifar(&at("batch"));
    fs::remove_file(at("batch/data_batch_2.bin")).unwrap();
    sets::write_pictures(&at("broken"));
    fs::write(at("broken/left/07.png"), "no picture").unwrap();
    sets::write_pictures(&at("bare"));
    fs::create_dir(at("bare/third")).unwrap();
    let cases: [(&str, &[&str]); 18] = [
        ("missing", &["missing", "nothing is", "mnist"]),
        ("empty", &["empty", "expected a data set", "an empty folder"]),
        ("other", &["other", "expected a data set"]),
        ("words.txt", &["words.txt", "expected rows of numbers"]),
        ("one-class.csv", &["one-class.csv", "2 to 256 different classes", "got 1"]),
        ("halves.csv", &["halves.csv", "example 1", "whole number in column 2", "0.5"]),
        ("nan.csv", &["nan.csv", "finite numbers", "example 1"]),
        ("no-labels", &["no-labels", "train-labels-idx1-ubyte"]),
        ("cut", &["cut", "768 bytes, and 500 follow", "cut off"]),
        ("fewer", &["fewer", "as many labels", "12", "11"]),
        ("gap", &["gap", "example 8", "none has 3", "200"]),
        ("unknown", &["unknown", "0 to 2", "got 7"]),
        ("shape", &["shape", "1x8x8", "1x4x16"]),
        ("label", &["label", "data_batch_3.bin", "0 to 9", "got 10"]),
        ("batch", &["batch", "data_batch_2.bin"]),
        ("broken", &["07.png", "expected a PNG"]),
        ("bare", &["third", "in the folder of each class", "none"]),
        ("cifar100", &["cifar100", "cifar-100-binary.tar.gz", "path of the folder"]),
    ];
    for (data, parts) in cases {
        // Without a home there is no known set either.
        let mut command = support::command(folder.path(), &["train", "--data", data, "--output", "model"]);
        let output = command.env("HOME", folder.path()).output().unwrap();
        refused(&output, 3, &[&["--data"], parts].concat());
        assert!(!at("model").exists(), "{data}");
    }
}

#[test]
fn predict_refuses_what_the_network_does_not_know() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("table.csv"), sets::table()).unwrap();
    sets::write_idx(&at("idx"), 30);
    done(&train(folder.path(), &["--data", "table.csv", "--epochs", "1", "--output", "model"]));
    let predict = |arguments: &[&str]| run(folder.path(), &[&["predict", "--model", "model"], arguments].concat());
    refused(&predict(&["--data", "idx"]), 3, &["--data", "classes 0, 1", "0, 1, 2"]);
    refused(&predict(&["--digits", "test"]), 2, &["--digits", "8x8 pixels", "3 features"]);
    refused(&predict(&["x.png"]), 2, &["PATH", "3 features", "--data"]);
    fs::write(at("wide.csv"), "a,b,c,d,class\n1,2,3,4,0\n2,3,4,5,1\n1,2,3,4,0\n2,3,4,5,1\n").unwrap();
    refused(&predict(&["--data", "wide.csv"]), 3, &["3 features", "4 features"]);
}

/// The published sets, where they have been fetched: `scripts/data`.
#[test]
fn published_sets_are_learnt() {
    let home = std::env::home_dir().unwrap_or_default().join(".cache/batchnorm/data");
    for (name, least) in [("mnist", 0.94), ("fashion-mnist", 0.82)] {
        if !home.join(name).is_dir() {
            eprintln!("skipped: {name} is not in {}; scripts/data {name} fetches it", home.display());
            continue;
        }
        let folder = folder();
        done(&train(folder.path(), &["--data", name, "--epochs", "1", "--output", "model"]));
        let accuracy = accuracy(folder.path(), &["--data", name]);
        assert!(accuracy >= least, "{name}: {accuracy}");
    }
}

#[test]
fn settings_that_cannot_be_are_named_by_their_flags() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let few: String = (0..20).map(|at| format!("{}.5,{}\n", at * 7 % 11, at / 2)).collect();
    fs::write(at("few.csv"), few).unwrap();
    let deep = "hidden = []\nconvolutions = [{ channels = 2, kernel = 1 }]\nstages = [STAGES]\n";
    let stages = vec!["{ channels = 2, blocks = 1 }"; 40].join(", ");
    fs::write(at("deep.toml"), deep.replace("STAGES", &stages)).unwrap();
    fs::write(at("wide.toml"), "hidden = []\nconvolutions = [{ channels = 700000, kernel = 1, pool = 8 }]").unwrap();
    fs::write(at("even.toml"), "hidden = []\nconvolutions = [{ channels = 4, kernel = 2 }]").unwrap();
    fs::write(at("bare.toml"), "hidden = []\nstages = [{ channels = 4, blocks = 1 }]").unwrap();
    let cases: [(&[&str], i32, &[&str]); 26] = [
        (&["--data", "few.csv"], 2, &["--test", "0.2", "none of any class"]),
        (
            &["--data", "few.csv", "--test", "0.5", "--validation", "0.1"],
            2,
            &["--validation", "0.1", "none of any class"],
        ),
        (&["--epochs", "0", "--network", "mlp"], 2, &["--epochs", "got 0"]),
        (&["--epochs", "99999999999", "--network", "mlp"], 2, &["--epochs", "99999999999"]),
        (&["--size", "16"], 2, &["--size", "a folder of pictures", "digits"]),
        (&["--size", "1"], 2, &["--size", "from 2 to 512"]),
        (&["--examples", "0"], 2, &["--examples", "1..=1437"]),
        (&["--examples", "1438"], 2, &["--examples", "1438"]),
        (&["--validation", "1"], 2, &["--validation", "0..1"]),
        (&["--network", "alexnet"], 2, &["--network", "resnet8", "alexnet"]),
        (&["--network", "missing.toml"], 3, &["--network", "missing.toml"]),
        (&["--network", "wide.toml"], 2, &["--network", "outputs of a layer"]),
        (&["--network", "even.toml"], 2, &["--network", "odd kernel"]),
        (&["--network", "bare.toml"], 2, &["--network", "a convolution in front"]),
        (&["--network", "mlp", "--norm", "instance"], 2, &["--norm", "instance"]),
        (&["--network", "mlp", "--norm", "group", "--groups", "7"], 2, &["--groups", "100", "7"]),
        (&["--norm", "decorrelated", "--hidden", "4000", "--groups", "4000"], 2, &["--groups", "256"]),
        (&["--dropout", "1"], 2, &["--dropout", "0..1"]),
        (&["--start", "xavier"], 2, &["--start", "glorot", "xavier"]),
        (&["--renorm", "0,5"], 2, &["--renorm"]),
        (&["--schedule", "linear"], 2, &["--schedule", "cosine", "linear"]),
        (&["--warm-up", "600"], 2, &["--warm-up", "600"]),
        (&["--optimizer", "adam", "--momentum", "0.9"], 2, &["--momentum", "--optimizer sgd"]),
        (&["--nesterov"], 2, &["--nesterov"]),
        (&["--augment", "spin"], 2, &["--augment", "flip", "spin"]),
        (&["--augment", "crop=5"], 2, &["--augment", "half a picture", "4"]),
    ];
    for (flags, code, parts) in cases {
        refused(&train(folder.path(), &[flags, &["--output", "model"]].concat()), code, parts);
        assert!(!at("model").exists(), "{flags:?}");
    }
    // Deep, but it can be: a step is taken.
    done(&train(folder.path(), &["--network", "deep.toml", "--steps", "1", "--output", "deep", "--batch-size", "16"]));
}

#[test]
fn classes_may_be_called_train_and_grey_pictures_go_into_colour_networks() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    sets::write_pictures(&at("vehicles"));
    fs::rename(at("vehicles/left"), at("vehicles/train")).unwrap();
    let output =
        train(folder.path(), &["--data", "vehicles", "--network", "mlp", "--epochs", "5", "--output", "model"]);
    done(&output);
    assert!(text(&output.stderr).contains("2: above, train"), "{}", text(&output.stderr));
    // In colours, for one picture is.
    sets::write_pictures(&at("colours"));
    let rows = vec![[200, 100, 50].repeat(8); 8];
    fs::write(at("colours/left/colour.png"), support::png(8, 8, 2, &[], &rows)).unwrap();
    done(&train(
        folder.path(),
        &["--data", "colours", "--network", "mlp", "--epochs", "5", "--output", "model", "--restart"],
    ));
    sets::write_pictures(&at("grey"));
    assert!(accuracy(folder.path(), &["--data", "grey"]) >= 0.9);
}

#[test]
fn other_data_are_another_training_whether_standardised_or_not() {
    let folder = folder();
    let table = sets::table();
    fs::write(folder.path().join("table.csv"), &table).unwrap();
    for scaled in [&[][..], &["--unscaled"]] {
        let flags =
            [&["--data", "table.csv", "--steps", "5", "--schedule", "constant", "--output", "model"][..], scaled]
                .concat();
        fs::write(folder.path().join("table.csv"), &table).unwrap();
        done(&train(folder.path(), &[&flags[..], &["--restart"]].concat()));
        // The same labels and means: two rows of one class have exchanged a value.
        let mut rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
        let second = (2..rows.len()).find(|&at| rows[at][2] == rows[1][2] && rows[at][0] != rows[1][0]).unwrap();
        let kept = rows[1][0];
        rows[1][0] = rows[second][0];
        rows[second][0] = kept;
        let exchanged: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
        fs::write(folder.path().join("table.csv"), exchanged.join("\n")).unwrap();
        refused(&train(folder.path(), &flags), 2, &["--output", "another training", "data: "]);
    }
}

#[test]
fn some_of_the_classes_and_networks_by_flags_and_ghost_batches_and_batches_by_class() {
    let folder = folder();
    let flags =
        ["--data", "digits", "--classes", "7,5,9", "--convolutions", "6x5/2,8", "--hidden", "20", "--ghost", "8"];
    let rest = ["--batch-size", "32", "--epochs", "6", "--output", "model"];
    let outline = run(folder.path(), &[&["train", "--outline"], &flags[..]].concat());
    for part in ["5 x 5", "greatest of 2 x 2", "6x4x4", "8x4x4", "3: 7, 5, 9"] {
        assert!(text(&outline.stdout).contains(part), "{part}: {}", text(&outline.stdout));
    }
    done(&train(folder.path(), &[&flags[..], &rest].concat()));
    // Of the 360 digits to test with, 36 of each class, predict asks about the three that the network knows.
    let said = run(folder.path(), &["predict", "--json", "--model", "model", "--data", "digits"]);
    let said: Value = serde_json::from_str(done(&said)).expect("stdout is JSON");
    assert_eq!(
        said["labelled_set"]["labelled"].as_u64().or(said["predictions"].as_array().map(|all| all.len() as u64)),
        Some(108)
    );
    assert!(accuracy(folder.path(), &["--data", "digits"]) > 0.9);
    // The same without ghost batches, and by class, are other trainings.
    for other in [&["--ghost", "16"][..], &["--ghost", "8", "--order", "by-class"]] {
        let told = train(folder.path(), &[&flags[..8], other, &rest].concat());
        refused(&told, 2, &["--output", "model", "--restart"]);
    }
    let refused_by = |flags: &[&str], parts: &[&str]| {
        refused(&train(folder.path(), &[&["--data", "digits", "--output", "other"], flags].concat()), 2, parts);
    };
    refused_by(&["--classes", "7,7"], &["--classes", "7 twice"]);
    refused_by(&["--classes", "7,ten"], &["--classes", "0, 1, 2", "ten"]);
    refused_by(&["--ghost", "1"], &["--ghost", "2 examples"]);
    refused_by(&["--ghost", "9", "--batch-size", "64"], &["--ghost", "64", "9"]);
    refused_by(&["--ghost", "8", "--norm", "group"], &["--ghost", "batch norm", "group"]);
    refused_by(&["--convolutions", "8x4"], &["--network", "odd kernel"]);
    refused_by(&["--convolutions", "8,x"], &["--convolutions", "such as 16,32x5/2"]);
}
