//! `batchnorm train` from another network's weights, with averages of its weights, and watched by TensorBoard.

#![cfg(feature = "train")]

mod support;

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;
use support::{done, folder, refused, run, text};

fn train(folder: &Path, arguments: &[&str]) -> std::process::Output {
    run(folder, &[&["train"], arguments].concat())
}

/// The name and bytes of each tensor in a file that is the network's own.
fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, Vec<u8>)> =
        file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
    tensors.retain(|(name, _)| !name.starts_with("training."));
    tensors.sort();
    tensors
}

/// The names of the tensors that are other ones.
fn changed(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (tensors(a), tensors(b));
    assert!(a.iter().map(|(name, _)| name).eq(b.iter().map(|(name, _)| name)));
    a.into_iter().zip(b).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0).collect()
}

/// A network of each kind of norm, and none, that others start from.
const SOURCES: [(&str, &[&str]); 8] = [
    ("batch", &["--network", "resnet8", "--epochs", "1", "--examples", "200"]),
    ("renorm", &["--norm", "renorm"]),
    ("decorrelated", &["--norm", "decorrelated"]),
    ("layer", &["--norm", "layer"]),
    ("group", &["--norm", "group", "--placement", "after"]),
    ("rms", &["--norm", "rms"]),
    ("behind", &["--norm", "batch", "--placement", "after"]),
    ("none", &["--norm", "none"]),
];

/// The flags of a network of [`SOURCES`].
fn source(name: &str) -> Vec<&'static str> {
    let (_, flags) = SOURCES.into_iter().find(|(known, _)| *known == name).expect("it is known");
    let of_mlp = ["--network", "mlp", "--epochs", "2", "--hidden", "20,20"];
    if flags.contains(&"--network") { flags.to_vec() } else { [&of_mlp, flags].concat() }
}

#[test]
fn what_is_frozen_does_not_move_by_a_bit_and_the_rest_does() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for (name, _) in SOURCES {
        done(&train(folder.path(), &[&source(name)[..], &["--output", name]].concat()));
        let by_batch = !["layer", "group", "rms", "none"].contains(&name);
        let is_of = |tensor: &str, what: &[&str]| what.iter().any(|end| tensor.ends_with(end));
        let statistics: &[&str] = &["running_mean", "running_var", "running_covariance"];
        for (statistics_flag, affine_flag) in
            [("frozen", "frozen"), ("adapting", "frozen"), ("frozen", "trained"), ("adapting", "trained")]
        {
            if !by_batch && statistics_flag == "frozen" || name == "none" && affine_flag == "trained" {
                continue;
            }
            let flags = ["--from", name, "--freeze", "body", "--statistics", statistics_flag, "--affine", affine_flag];
            // (Everything that could move a weight: momentum, decay of norms too, dropout, clipping.)
            let more = ["--seed", "9", "--steps", "12", "--weight-decay", "0.1", "--decay-norms", "--clip", "1"];
            let output = at("adapted");
            let told = train(folder.path(), &[&flags[..], &more, &["--output", "adapted", "--restart"]].concat());
            done(&told);
            for tensor in tensors(&output).into_iter().map(|(name, _)| name) {
                let moved = changed(&at(name), &output).contains(&tensor);
                let expected = match () {
                    () if tensor.starts_with("output.") => true,
                    () if is_of(&tensor, statistics) => statistics_flag == "adapting",
                    () if tensor.contains(".norm.") && is_of(&tensor, &[".weight", ".bias", ".gamma", ".beta"]) => {
                        affine_flag == "trained"
                    }
                    () if is_of(&tensor, &["updates"]) => moved,
                    () => false,
                };
                assert_eq!(moved, expected, "{name}, {statistics_flag} {affine_flag}: {tensor}");
            }
            let table = text(&told.stderr);
            let layers =
                if ["group", "behind", "none"].contains(&name) { "weights, bias frozen" } else { "weights frozen" };
            let parameters = if name == "rms" { "gamma" } else { "gamma, beta" };
            let norms = match by_batch {
                true => format!("{parameters} {affine_flag}; statistics {statistics_flag}"),
                false => format!("{parameters} {affine_flag}"),
            };
            for part in [layers, "weights, bias trained, new", if name == "none" { "" } else { &norms }] {
                assert!(table.contains(part), "{name}: {part}\n{table}");
            }
        }
    }
}

#[test]
fn a_training_from_another_network_goes_on_to_the_same_bits() {
    let folder = folder();
    let at = |name: &str| fs::read(folder.path().join(name)).unwrap();
    for name in ["batch", "renorm", "decorrelated"] {
        done(&train(folder.path(), &[&source(name)[..], &["--output", name]].concat()));
    }
    for (which, (from, more)) in [
        ("batch", ["--freeze", "convolutions.0,*.norm", "--statistics", "adapting"].as_slice()),
        ("renorm", &["--average", "ema:0.9", "--head", "kept", "--update-weight", "0.5"]),
        ("renorm", &["--freeze", "body", "--affine", "trained", "--average", "swa:11,4"]),
        ("decorrelated", &["--update-weight", "0.9"]),
        ("decorrelated", &["--freeze", "hidden.0"]),
    ]
    .into_iter()
    .enumerate()
    {
        let (whole, stopped) = (format!("whole{which}"), format!("stopped{which}"));
        let base = ["--from", from, "--schedule", "constant", "--evaluate-every", "10", "--optimizer", "adam"];
        let of = |steps: &str, output: &str| {
            let told = train(folder.path(), &[&base, more, &["--steps", steps, "--output", output]].concat());
            done(&told);
        };
        of("30", &whole);
        ["12", "20", "23", "30"].into_iter().for_each(|steps| of(steps, &stopped));
        assert!(at(&whole) == at(&stopped), "{more:?}");
        // Another source is another training.
        done(&train(folder.path(), &[&source(from)[..], &["--seed", "8", "--output", "other", "--restart"]].concat()));
        let other = [&base[2..], more, &["--from", "other", "--steps", "30", "--output", &whole]].concat();
        refused(&train(folder.path(), &other), 2, &["--output", "another training", "starts from"]);
    }
}

#[test]
fn averaged_weights_have_their_own_statistics_and_all_scores_are_shown() {
    let folder = folder();
    let json = |arguments: &[&str]| -> (Value, String) {
        let told = train(folder.path(), &[arguments, &["--json"]].concat());
        done(&told);
        (serde_json::from_slice(&told.stdout).unwrap(), text(&told.stderr).to_owned())
    };
    let base = ["--network", "mlp", "--steps", "120", "--evaluate-every", "40", "--log", "log", "--restart"];
    let (last, _) = json(&[&base[..], &["--output", "last"]].concat());
    fs::remove_file(folder.path().join("log")).unwrap();
    let averages = ["ema:0.99", "ema", "swa:60,5", "swa"];
    for average in averages {
        let flags = [&base[..], &["--average", average, "--output", "averaged"]].concat();
        let (averaged, told) = json(&flags);
        assert!(told.contains("averaged") && told.contains("by the training's statistics"), "{told}");
        let lines = fs::read_to_string(folder.path().join("log")).unwrap();
        fs::remove_file(folder.path().join("log")).unwrap();
        let line: Value = serde_json::from_str(lines.lines().rfind(|line| line.contains("averaged")).unwrap()).unwrap();
        // The last weights are those of the training without an average, and the file's network is the averaged one.
        assert_eq!(line["test"]["accuracy"], last["test_accuracy"], "{average}");
        assert_eq!(line["averaged"]["accuracy"], averaged["test_accuracy"], "{average}");
        assert!(line["averaged_by_training_statistics"]["loss"].as_f64().unwrap() > 0.0);
        // Asked again, all scores are said again.
        let (again, _) = json(&[&base[..base.len() - 1], &["--average", average, "--output", "averaged"]].concat());
        assert_eq!(again["beside_average"], averaged["beside_average"]);
        assert_eq!(again["beside_average"]["last_accuracy"], last["test_accuracy"]);
        let own = changed(&folder.path().join("last"), &folder.path().join("averaged"));
        assert!(
            own.iter().any(|name| name.ends_with("linear.weight"))
                && own.iter().any(|name| name.ends_with("running_var"))
        );
    }
    // Weights whose average overflows have diverged, whatever the same command is given again.
    let hot = [
        "--network",
        "mlp",
        "--hidden",
        "16,16",
        "--learning-rate",
        "100",
        "--schedule",
        "constant",
        "--momentum",
        "0.99",
    ];
    let more = ["--steps", "100", "--evaluate-every", "5", "--average", "ema:0.5", "--output", "hot"];
    let told = train(folder.path(), &[&hot[..], &more].concat());
    let said = text(&told.stderr);
    assert!(told.status.code() == Some(4) && said.contains("the training diverged"), "{told:?}");
    assert!(said.contains("averaged weights") && said.contains("--learning-rate"), "{said}");
    // Frozen statistics are the user's, and are not computed again.
    let base =
        ["--from", "last", "--statistics", "frozen", "--average", "ema:0.9", "--steps", "20", "--output", "kept"];
    done(&train(folder.path(), &base));
    let moved = changed(&folder.path().join("last"), &folder.path().join("kept"));
    assert!(moved.iter().all(|name| !name.contains("running")), "{moved:?}");
    assert!(moved.iter().any(|name| name.ends_with("norm.weight")), "{moved:?}");
}

/// The steps and names of an event file, record by record, its lengths and ends checked.
fn events(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records.push(bytes[at + 12..at + 12 + length].to_vec());
        at += 16 + length;
    }
    assert_eq!(at, bytes.len());
    records
}

#[test]
fn tensorboard_gets_losses_scores_and_norms_and_a_new_file_where_a_training_goes_on() {
    let folder = folder();
    let base = [
        "--network",
        "mlp",
        "--evaluate-every",
        "50",
        "--schedule",
        "constant",
        "--tensorboard",
        "board",
        "--output",
        "m",
    ];
    done(&train(folder.path(), &[&base[..], &["--steps", "100"]].concat()));
    let files = || {
        let files = fs::read_dir(folder.path().join("board")).unwrap().map(|file| file.unwrap().path());
        files.collect::<Vec<_>>()
    };
    let [first] = &files()[..] else { panic!("{:?}", files()) };
    let records = events(first);
    for name in [
        "training/loss",
        "training/learning rate",
        "accuracy/test",
        "loss/test",
        "hidden.0.norm/gamma",
        "hidden.2.norm/running variance",
        "running mean off (in batch deviations)/hidden.1.norm",
        "running variance over batch variance/hidden.1.norm",
    ] {
        let has = |record: &&Vec<u8>| record.windows(name.len()).any(|part| part == name.as_bytes());
        assert_eq!(records.iter().filter(has).count(), 2, "{name}");
    }
    done(&train(folder.path(), &[&base[..], &["--steps", "150"]].concat()));
    assert_eq!(files().len(), 2);
    // Of a training that is not evaluated on the way, the end is there, and a few steps are not lost.
    done(&train(folder.path(), &["--steps", "30", "--tensorboard", "plain", "--output", "plain-model"]));
    let [plain] =
        &fs::read_dir(folder.path().join("plain")).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>()[..]
    else {
        panic!("one file");
    };
    for name in ["training/loss", "accuracy/test", "hidden.0.norm/gamma"] {
        let has = |record: &Vec<u8>| record.windows(name.len()).any(|part| part == name.as_bytes());
        assert_eq!(events(plain).iter().filter(|record| has(record)).count(), 1, "{name}");
    }
    let blocked = ["--tensorboard", "m/board", "--output", "n", "--steps", "10"];
    refused(&train(folder.path(), &blocked), 5, &["--tensorboard", "m/board"]);
}

#[test]
fn what_cannot_be_taken_over_is_named_by_its_flag() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    done(&train(folder.path(), &["--network", "mlp", "--hidden", "8", "--steps", "5", "--output", "mlp"]));
    done(&train(folder.path(), &["--network", "course", "--hidden", "8", "--steps", "2", "--output", "course"]));
    let layered = ["--network", "mlp", "--norm", "layer", "--hidden", "8", "--steps", "5", "--output", "layered"];
    done(&train(folder.path(), &layered));
    done(&train(
        folder.path(),
        &["--network", "mlp", "--norm", "none", "--hidden", "8", "--steps", "5", "--output", "bare"],
    ));
    fs::write(at("text"), "no model").unwrap();
    fs::write(at("table.csv"), (0..40).map(|at| format!("{}.5,{}\n", at * 7 % 11, at % 2)).collect::<String>())
        .unwrap();
    support::sets::write_pictures(&at("pictures"));
    let cases: [(&[&str], i32, &[&str]); 18] = [
        (&["--from", "missing"], 3, &["--from", "missing"]),
        (&["--from", "text"], 3, &["--from", "text", "no network to start from"]),
        (&["--from", "mlp", "--freeze", "body,hiden.0"], 2, &["--freeze", "hidden.0.linear", "hiden.0"]),
        (&["--from", "mlp", "--freeze", "*"], 2, &["--freeze", "something to train"]),
        (&["--from", "mlp", "--data", "table.csv"], 2, &["--data", "1x8x8", "hidden.0.linear.weight", "1 features"]),
        (
            &["--from", "course", "--data", "pictures", "--size", "10x12"],
            2,
            &["--data", "1x8x8", "hidden.0.linear.weight", "1x10x12"],
        ),
        (&["--from", "layered", "--statistics", "frozen"], 2, &["--statistics", "no running statistics"]),
        (
            &["--from", "mlp", "--head", "kept", "--data", "pictures", "--size", "8"],
            2,
            &["--head", "10 classes", "kept"],
        ),
        (&["--from", "mlp", "--output", "mlp", "--restart"], 2, &["--output", "--from", "the same"]),
        (&["--from", "mlp", "--freeze", "output"], 2, &["--freeze", "--head kept", "got output"]),
        (&["--from", "bare", "--affine", "frozen"], 2, &["--affine", "no norms"]),
        (&["--norm", "decorrelated", "--average", "ema"], 2, &["--average", "decorrelated"]),
        (&["--average", "mean"], 2, &["--average", "ema:DECAY", "mean"]),
        (&["--average", "ema:1"], 2, &["--average", "0..1"]),
        (&["--average", "swa:900,1"], 2, &["--average", "1..=600", "900"]),
        (&["--average", "swa:9"], 2, &["--average", "swa:FROM,EVERY"]),
        (&["--average", "swa:9,0"], 2, &["--average", "got 0"]),
        (
            &["--network", "mlp", "--average", "ema", "--patience", "3", "--validation", "0.2"],
            2,
            &["--patience", "average of the weights"],
        ),
    ];
    for (flags, code, parts) in cases {
        let output: &[&str] = if flags.contains(&"--output") { &[] } else { &["--output", "model"] };
        refused(&train(folder.path(), &[flags, output].concat()), code, parts);
        assert!(!at("model").exists(), "{flags:?}");
    }
    // Norms that go by what they have do not ask for batches.
    let alone = ["--from", "mlp", "--freeze", "body", "--batch-size", "1", "--steps", "3", "--output", "alone"];
    let told = train(folder.path(), &alone);
    done(&told);
    assert!(!text(&told.stderr).contains("warning: the norm's statistics"), "{}", text(&told.stderr));
    let few = ["--from", "mlp", "--batch-size", "8", "--steps", "3", "--output", "few"];
    let told = train(folder.path(), &few);
    assert!(text(&told.stderr).contains("or --statistics frozen"), "{}", text(&told.stderr));
    for (flags, flag) in
        [(["--from", "mlp", "--hidden", "9"], "--hidden"), (["--freeze", "body", "--steps", "2"], "--from")]
    {
        let told = train(folder.path(), &flags);
        assert!(told.status.code() == Some(2) && text(&told.stderr).contains(flag), "{told:?}");
    }
}
