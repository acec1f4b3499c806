//! `batchnorm train` when things go wrong around it: data that vanish, disks that are full, memory that is short, trainings that diverge or
//! end by themselves. (`scripts/kills` kills it at random moments.)

#![cfg(all(unix, feature = "train"))]

mod support;

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::sets::{self, idx};
use support::{command, done, folder, refused, run, text};

fn train(folder: &Path, arguments: &[&str]) -> std::process::Output {
    run(folder, &[&["train"], arguments].concat())
}

fn started(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = command(folder, &[&["train"], arguments].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Settings under which everything that a training keeps matters.
const MUCH: [&str; 14] = [
    "--network",
    "course",
    "--hidden",
    "12",
    "--norm",
    "renorm",
    "--dropout",
    "0.3",
    "--optimizer",
    "adamw",
    "--augment",
    "flip,shift=1",
    "--schedule",
    "cosine",
];

#[test]
fn a_training_that_is_stopped_again_and_again_ends_in_the_same_file_on_any_threads() {
    let (whole, stopped) = (folder(), folder());
    let of = ["--steps", "60", "--evaluate-every", "25", "--validation", "0.2", "--patience", "9", "--output", "model"];
    let all = |threads: &'static str| [&MUCH[..], &of, &["--save-every", "0", "--threads", threads]].concat();
    done(&train(whole.path(), &all("1")));
    let expected = fs::read(whole.path().join("model")).unwrap();
    let mut kills = 0;
    for (at, threads) in ["2", "1", "3", "4"].into_iter().enumerate() {
        let mut child = started(stopped.path(), &all(threads));
        wait_for(&stopped.path().join("model"));
        std::thread::sleep(Duration::from_millis(40 * (at as u64 + 1)));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    done(&train(stopped.path(), &all("2")));
    assert!(kills > 0, "it was over before it could be killed");
    assert_eq!(fs::read(stopped.path().join("model")).unwrap(), expected);
    assert_eq!(fs::read_dir(stopped.path()).unwrap().count(), 1, "a hidden file is left");
}

#[test]
fn data_that_vanish_are_said_and_nothing_is_lost() {
    let (whole, cut) = (folder(), folder());
    let flags = [
        "--data",
        "set",
        "--network",
        "mlp",
        "--batch-size",
        "10",
        "--steps",
        "20000",
        "--output",
        "model",
        "--evaluate-every",
        "5000",
    ];
    for folder in [&whole, &cut] {
        sets::write_idx(&folder.path().join("set"), 300);
    }
    let child = started(cut.path(), &flags);
    let pictures = cut.path().join("set/train-images-idx3-ubyte");
    wait_for(&cut.path().join("model"));
    // On disk it is read as it is needed; half of it is gone now.
    let kept = fs::read(&pictures).unwrap();
    OpenOptions::new().write(true).open(&pictures).unwrap().set_len(5000).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let last = text(&output.stderr).lines().last().unwrap();
    for part in
        ["--data", "train-images-idx3-ubyte", "cannot be read", "of 20000 steps are in model", "goes on from there"]
    {
        assert!(last.contains(part), "{last:?} lacks {part:?}");
    }
    // Meanwhile the set is refused as what it is; restored, it is gone on with.
    refused(&train(cut.path(), &flags), 3, &["--data", "cut off"]);
    fs::write(&pictures, kept).unwrap();
    done(&train(cut.path(), &flags));
    done(&train(whole.path(), &flags));
    assert_eq!(fs::read(cut.path().join("model")).unwrap(), fs::read(whole.path().join("model")).unwrap());
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let folder = folder();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |arguments: &[&str]| Command::new("mount").args(arguments).arg(&disk).stderr(Stdio::null()).status();
    if !mount(&["-t", "tmpfs", "-o", "size=300k", "tmpfs"]).is_ok_and(|status| status.success()) {
        eprintln!("skipped: no small disk can be mounted here (this needs root)");
        return;
    }
    let small = ["--network", "mlp", "--hidden", "32", "--output", "disk/model"];
    done(&train(folder.path(), &[&small[..], &["--steps", "20", "--schedule", "constant", "--warm-up", "0"]].concat()));
    let before = fs::read(disk.join("model")).unwrap();
    // All that is left is taken.
    let _ = fs::write(disk.join("filler"), vec![0; 1 << 20]);
    let more =
        train(folder.path(), &[&small[..], &["--steps", "40", "--schedule", "constant", "--warm-up", "0"]].concat());
    let (code, after) = (more.status.code(), fs::read(disk.join("model")).unwrap());
    let names = fs::read_dir(&disk).unwrap().count();
    Command::new("umount").arg(&disk).status().unwrap();
    assert_eq!(code, Some(5), "{}", text(&more.stderr));
    assert!(
        text(&more.stderr).contains("disk/model") && text(&more.stderr).contains("No space left"),
        "{}",
        text(&more.stderr)
    );
    assert_eq!((after, names), (before, 2));
}

/// The greatest memory that a command had, in bytes, by Linux's count.
#[cfg(target_os = "linux")]
fn memory(folder: &Path, arguments: &[&str]) -> u64 {
    let child = started(folder, arguments);
    let status = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(text) = fs::read_to_string(&status) {
            let Some(line) = text.lines().find(|line| line.starts_with("VmHWM")) else { break };
            most = most.max(line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024);
            std::thread::sleep(Duration::from_millis(2));
        }
        most
    });
    done(&child.wait_with_output().unwrap());
    watch.join().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_flat_over_epochs_and_large_sets_are_streamed() {
    let folder = folder();
    let small = ["--data", "digits", "--network", "mlp", "--output", "model", "--restart", "--epochs"];
    let of = |epochs: &'static str| memory(folder.path(), &[&small[..], &[epochs]].concat());
    let (few, many) = (of("10"), of("100"));
    println!("10 epochs {} KiB, 100 epochs {} KiB", few >> 10, many >> 10);
    assert!(many < few + (8 << 20), "{few} and {many} bytes");

    // 400 MB of pictures, which take no room on the disk.
    let set = folder.path().join("large");
    let count = 100_000;
    sets::write_idx(&set, 3);
    let pictures = File::create(set.join("train-images-idx3-ubyte")).unwrap();
    std::io::Write::write_all(&mut &pictures, &idx(&[count, 64, 64], &[])).unwrap();
    pictures.set_len(16 + count as u64 * 4096).unwrap();
    let labels: Vec<u8> = (0..count).map(|at| (at % 3) as u8).collect();
    fs::write(set.join("train-labels-idx1-ubyte.gz"), idx(&[count], &labels)).unwrap();
    for part in ["images-idx3-ubyte", "labels-idx1-ubyte.gz"] {
        fs::remove_file(set.join(format!("t10k-{part}"))).unwrap();
    }
    let large = [
        "--data",
        "large",
        "--test",
        "0.001",
        "--hidden",
        "4",
        "--steps",
        "200",
        "--output",
        "large.model",
        "--evaluate-every",
        "100",
    ];
    let streamed = memory(folder.path(), &large);
    println!("400 MB streamed with {} KiB", streamed >> 10);
    assert!(streamed < 120 << 20, "{streamed} bytes");
}

#[test]
fn a_training_that_diverges_names_the_layer_and_one_that_dies_is_warned_of() {
    let folder = folder();
    let flags = ["--network", "mlp", "--norm", "none", "--learning-rate", "1e6", "--warm-up", "0", "--output", "model"];
    let output = train(folder.path(), &flags);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let last = text(&output.stderr).lines().last().unwrap();
    for part in ["diverged", "first in layer", "--learning-rate (it was 1000000)"] {
        assert!(last.contains(part), "{last:?} lacks {part:?}");
    }
    // A rate that kills ReLUs, statistics that hardly move, and batches of next to nothing.
    let dead = [
        "--network",
        "mlp",
        "--norm",
        "none",
        "--learning-rate",
        "3",
        "--epochs",
        "1",
        "--optimizer",
        "sgd",
        "--momentum",
        "0",
        "--clip",
        "1",
    ];
    let stale = ["--network", "mlp", "--update-weight", "0.0001", "--epochs", "1"];
    let tiny = ["--network", "mlp", "--batch-size", "4", "--steps", "50"];
    for (flags, part) in [
        (&dead[..], "channels are 0 for a whole batch"),
        (&stale, "running statistics are far"),
        (&tiny, "4 values a channel"),
    ] {
        let output = train(folder.path(), &[flags, &["--output", "other", "--restart", "--log", "log"]].concat());
        assert!(text(&output.stderr).contains(part), "{} lacks {part:?}", text(&output.stderr));
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("\"warning\""), "{log}");
    }
    let quiet = train(folder.path(), &["--network", "mlp", "--epochs", "3", "--output", "good"]);
    assert!(!text(&quiet.stderr).contains("warning"), "{}", text(&quiet.stderr));
}

#[test]
fn patience_ends_a_training_and_keeps_the_best_network() {
    let folder = folder();
    let flags = [
        "--network",
        "mlp",
        "--epochs",
        "400",
        "--schedule",
        "constant",
        "--validation",
        "0.2",
        "--patience",
        "4",
        "--examples",
        "200",
        "--output",
        "model",
        "--json",
        "--log",
        "log",
    ];
    let output = train(folder.path(), &flags);
    let said: Value = serde_json::from_str(done(&output)).unwrap();
    let (taken, best) = (said["steps_done"].as_u64().unwrap(), said["watch"]["best_step"].as_u64().unwrap());
    assert!(taken < 400 * 3 && best < taken && said["watch"]["waited"] == 4, "{said}");
    assert_eq!(said["test_step"], best);
    // The file has the best network: predict finds the score that it had then.
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let then = lines.iter().find(|line| line["step"] == best && line["test"].is_object()).expect("the best was logged");
    let predicted = run(folder.path(), &["predict", "--model", "model", "--digits", "test", "--json"]);
    let predicted: Value = serde_json::from_str(done(&predicted)).unwrap();
    assert_eq!(predicted["labelled_set"]["accuracy"], then["test"]["accuracy"]);
    // The same command changes nothing.
    let (before, again) = (fs::read(folder.path().join("model")).unwrap(), train(folder.path(), &flags));
    done(&again);
    assert!(text(&again.stderr).contains("ended by itself"), "{}", text(&again.stderr));
    assert_eq!(fs::read(folder.path().join("model")).unwrap(), before);
    refused(
        &train(folder.path(), &["--network", "mlp", "--patience", "3", "--output", "x"]),
        2,
        &["--patience", "--validation"],
    );
}

#[test]
fn a_watched_training_of_more_steps_goes_the_same_way_further() {
    let (at_once, in_two) = (folder(), folder());
    let flags = |steps: &'static str| {
        [
            "--network",
            "mlp",
            "--schedule",
            "constant",
            "--validation",
            "0.2",
            "--evaluate-every",
            "30",
            "--patience",
            "3",
            "--output",
            "model",
            "--steps",
            steps,
        ]
    };
    done(&train(at_once.path(), &flags("400")));
    for steps in ["100", "170", "400"] {
        done(&train(in_two.path(), &flags(steps)));
    }
    let files = [&at_once, &in_two].map(|folder| fs::read(folder.path().join("model")).unwrap());
    assert_eq!(files[0], files[1]);
}

#[test]
fn a_loss_that_is_none_is_never_a_file_that_cannot_be_read() {
    let folder = folder();
    // One value next to the greatest that there is: it is in one of the parts, whichever row it stands in.
    for huge in 0..6 {
        let row =
            |at: usize| format!("{},{}\n", if at == huge { String::from("3e38") } else { format!("0.0{at}") }, at % 2);
        fs::write(folder.path().join("table.csv"), (0..60).map(row).collect::<String>()).unwrap();
        let flags = [
            "--data",
            "table.csv",
            "--norm",
            "none",
            "--hidden",
            "8",
            "--validation",
            "0.3",
            "--patience",
            "3",
            "--epochs",
            "4",
            "--output",
            "model",
        ];
        let first = train(folder.path(), &[&flags[..], &["--restart"]].concat());
        if first.status.success() {
            done(&train(folder.path(), &flags));
        } else {
            assert_eq!(first.status.code(), Some(4), "{}", text(&first.stderr));
        }
        let _ = fs::remove_file(folder.path().join("model"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_killed_trainings_left_is_gone_after_the_next_start_whatever_there_is_to_do() {
    let folder = folder();
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let stray = folder.path().join(format!(".batchnorm-{}-3.part", child.id()));
    for flags in [&["--steps", "5"][..], &["--steps", "5"]] {
        fs::write(&stray, "half").unwrap();
        done(&train(folder.path(), flags));
        assert!(!stray.exists(), "{flags:?}");
    }
}

#[test]
fn a_log_is_never_somebody_elses_file() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("notes.txt"), "mine\n").unwrap();
    let flags = |log: &'static str| ["--steps", "5", "--output", "model", "--log", log];
    refused(&train(folder.path(), &flags("notes.txt")), 2, &["--log", "notes.txt", "something else"]);
    assert_eq!(fs::read_to_string(at("notes.txt")).unwrap(), "mine\n");
    refused(&train(folder.path(), &flags("model")), 2, &["--log", "--output"]);
    done(&train(folder.path(), &flags("log")));
    // Nothing to do: nothing is opened.
    let (model, log) = (fs::read(at("model")).unwrap(), fs::read(at("log")).unwrap());
    done(&train(folder.path(), &flags("notes.txt")));
    assert_eq!((fs::read(at("model")).unwrap(), fs::read(at("log")).unwrap()), (model, log));
    assert_eq!(fs::read_to_string(at("notes.txt")).unwrap(), "mine\n");
}

#[test]
fn a_log_goes_on_where_the_file_does() {
    let folder = folder();
    let flags = |steps: &'static str| {
        [
            "--network",
            "mlp",
            "--schedule",
            "constant",
            "--warm-up",
            "0",
            "--evaluate-every",
            "30",
            "--output",
            "model",
            "--log",
            "log",
            "--steps",
            steps,
        ]
    };
    let steps = || -> Vec<(u64, bool)> {
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        let line = |line: &str| serde_json::from_str::<Value>(line).expect("a line of JSON");
        log.lines().map(line).map(|line| (line["step"].as_u64().unwrap(), line["test"].is_object())).collect()
    };
    done(&train(folder.path(), &flags("60")));
    let first = steps();
    assert_eq!(first, [(30, true), (50, false), (60, true)]);
    // What a killed run wrote beyond its last save: whole lines and half of one.
    let mut log = OpenOptions::new().append(true).open(folder.path().join("log")).unwrap();
    std::io::Write::write_all(&mut log, b"{\"step\":90,\"test\":{}}\n{\"step\":10").unwrap();
    done(&train(folder.path(), &flags("90")));
    assert_eq!(steps(), [&first[..], &[(90, true)]].concat());
}
