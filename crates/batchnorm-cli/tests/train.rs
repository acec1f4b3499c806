//! `batchnorm train` as a person calls it: stopped, killed and gone on with, further, other files, bad arguments.

#![cfg(feature = "train")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{command, done, folder, may_lose_its_reader, refused, run, text};

const FILE: &str = "batchnorm-model.safetensors";

fn train(folder: &Path, arguments: &[&str]) -> std::process::Output {
    run(folder, &[&["train"], arguments].concat())
}

fn bytes(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join(FILE)).expect("the model is there")
}

/// The description in the file.
fn described(folder: &Path) -> Value {
    let bytes = bytes(folder);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("the header is JSON");
    serde_json::from_str(header["__metadata__"]["batchnorm"].as_str().unwrap()).expect("the description is JSON")
}

fn steps_done(folder: &Path) -> u64 {
    described(folder)["steps_done"].as_u64().unwrap()
}

#[test]
fn bad_arguments_are_named_and_nothing_is_written() {
    let folder = folder();
    let hundreds = vec!["1"; 200].join(",");
    let bad: &[(&[&str], &[&str])] = &[
        (&["--steps", "0"], &["--steps", "0"]),
        (&["--steps", "-5"], &["--steps", "-5"]),
        (&["--steps", "1e3"], &["--steps", "`1e3`"]),
        (&["--steps", "99999999999999999999"], &["--steps", "a whole number up to", "got 99999999999999999999"]),
        (&["--steps", "99999999999"], &["--steps", "99999999999"]),
        (&["--learning-rate", "0"], &["--learning-rate", "0"]),
        (&["--learning-rate", "nan"], &["--learning-rate", "NaN"]),
        (&["--learning-rate", "fast"], &["--learning-rate", "`fast`"]),
        (&["--batch-size", "1"], &["--batch-size", "two values"]),
        (&["--batch-size", "1438"], &["--batch-size", "1437", "1438"]),
        (&["--seed", "-1"], &["--seed", "`-1`"]),
        (&["--seed", "1,2"], &["--seed", "`1,2`"]),
        (&["--hidden", ""], &["--hidden", "``"]),
        (&["--hidden", "100,0"], &["--hidden", "100,0"]),
        (&["--hidden", "100,,3"], &["--hidden", "``"]),
        (&["--hidden", "1000000000000"], &["--hidden", "10000000 weights"]),
        (&["--hidden", "18446744073709551615,18446744073709551615"], &["--hidden", "weights"]),
        (&["--hidden", &hundreds], &["--hidden", "100 hidden layers", "200"]),
        (&["--threads", "0"], &["--threads", "0"]),
        (&["--threads", "1000000"], &["--threads", "1000000"]),
    ];
    for (arguments, parts) in bad {
        refused(&train(folder.path(), arguments), 2, parts);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_default_learns_the_digits_and_says_how_to_go_on() {
    let folder = folder();
    let output = train(folder.path(), &[]);
    let shown = done(&output);
    for part in ["64-100-100-100-10, with batch norm", FILE, "batchnorm predict --model"] {
        assert!(shown.contains(part), "{shown}");
    }
    let description = described(folder.path());
    assert_eq!((&description["steps_done"], &description["steps"]), (&600.into(), &600.into()));
    assert!(description["test_accuracy"].as_f64().unwrap() >= 0.95, "{description}");
    assert!(!description.to_string().contains("second"), "no times: {description}");

    // The same command changes nothing, not even the file's time.
    let path = folder.path().join(FILE);
    let (before, time) = (bytes(folder.path()), std::fs::metadata(&path).unwrap().modified().unwrap());
    let again = train(folder.path(), &["--json"]);
    let summary: Value = serde_json::from_str(done(&again)).unwrap();
    assert_eq!(summary["test_accuracy"], description["test_accuracy"]);
    assert!(text(&again.stderr).contains("stays as it is"), "{}", text(&again.stderr));
    assert_eq!(bytes(folder.path()), before);
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), time);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn more_steps_go_on_and_other_settings_do_not_mix() {
    let (at_once, in_two) = (folder(), folder());
    let small = ["--hidden", "20,10", "--seed", "7"];
    let steps = |folder: &Path, steps| train(folder, &[&small[..], &["--steps", steps]].concat());
    done(&steps(at_once.path(), "70"));
    done(&steps(in_two.path(), "30"));
    done(&steps(in_two.path(), "70"));
    assert_eq!(bytes(in_two.path()), bytes(at_once.path()));

    let before = bytes(in_two.path());
    refused(&steps(in_two.path(), "30"), 2, &["--steps", "70 steps behind it", "30 asked for"]);
    let other = train(in_two.path(), &["--hidden", "20", "--batch-size", "50", "--no-batch-norm"]);
    refused(
        &other,
        2,
        &[
            FILE,
            "hidden layers: 20,10 there, 20 now",
            "batch norm: yes there, no now",
            "seed: 7 there, 1 now",
            "batch size: 60 there, 50 now",
            "learning rate: 0.5 there, 3 now",
            "--restart",
        ],
    );
    assert_eq!(bytes(in_two.path()), before);
    done(&train(in_two.path(), &["--hidden", "20", "--no-batch-norm", "--steps", "5", "--restart"]));
    assert_eq!(described(in_two.path())["batch_norm"], false);
}

/// Waits until the file has more than some steps behind it, or the program ends or takes too long.
fn until_saved(child: &mut Child, folder: &Path, steps: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !(folder.join(FILE).exists() && steps_done(folder) > steps) {
        let ended = child.try_wait().unwrap();
        if ended.is_some() || Instant::now() > deadline {
            let _ = child.kill();
            panic!("no save of more than {steps} steps; ended: {ended:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_kill_lose_nothing_and_the_end_is_the_same_to_the_bit() {
    let (stopped, whole) = (folder(), folder());
    // So many steps that it goes on for some seconds here, with a save in each.
    let begun = Instant::now();
    done(&train(folder().path(), &["--steps", "500"]));
    let steps = (3000.0 / begun.elapsed().as_secs_f64()).max(5000.0) as u64;
    let arguments = ["train", "--steps", &steps.to_string()];
    let start = || {
        let mut command = command(stopped.path(), &arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    // Killed without a word after its first save.
    let mut child = start();
    until_saved(&mut child, stopped.path(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let after_kill = steps_done(stopped.path());
    assert!((1..steps).contains(&after_kill), "{after_kill} of {steps}");
    // Gone on with, and asked to stop.
    let mut child = start();
    until_saved(&mut child, stopped.path(), after_kill);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    refused(&output, 130, &["interrupted", &format!("of {steps} steps"), FILE, "same command"]);
    let after_stop = steps_done(stopped.path());
    assert!((after_kill + 1..steps).contains(&after_stop), "{after_kill}, {after_stop} of {steps}");
    assert!(text(&output.stderr).contains(&format!("{after_stop} of {steps}")));
    // Gone on with to the end, against one that nobody stopped.
    done(&run(stopped.path(), &arguments));
    done(&run(whole.path(), &arguments));
    assert_eq!(bytes(stopped.path()), bytes(whole.path()));
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let folder = folder();
    done(&train(folder.path(), &["--steps", "5"]));
    let own = bytes(folder.path());
    let foreign = [&24u64.to_le_bytes()[..], br#"{"__metadata__":{}}     "#].concat();
    let cases: [(&[u8], &str); 5] = [
        (b"", "safetensors"),
        (b"my thesis", "safetensors"),
        (&own[..own.len() / 2], "safetensors"),
        (&own[..own.len() - 1], "safetensors"),
        (&foreign, "without its description"),
    ];
    for (content, part) in cases {
        std::fs::write(folder.path().join(FILE), content).unwrap();
        refused(&train(folder.path(), &["--steps", "9"]), 3, &[FILE, part, "--restart"]);
        assert_eq!(bytes(folder.path()), content);
    }
    done(&train(folder.path(), &["--steps", "5", "--restart"]));
    assert_eq!(bytes(folder.path()), own);
}

#[test]
fn a_file_that_cannot_be_written_fails_before_the_run() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    // Ten million steps: it would not come back if it ran first.
    let long = |output| train(folder.path(), &["--steps", "10000000", "--output", output]);
    refused(&long("folder"), 5, &["folder"]);
    refused(&long("file/below"), 5, &["file"]);
    refused(&long("nowhere/model.safetensors"), 5, &["nowhere"]);
    #[cfg(target_os = "linux")]
    {
        refused(&long("/proc/model.safetensors"), 5, &["/proc"]);
        let device = long("/dev/null");
        refused(&device, 5, &["/dev/null", "a pipe, socket or device", "name another"]);
        assert!(!text(&device.stderr).contains("--restart"));
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "content");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_and_keeps_the_file() {
    let folder = folder();
    let arguments = ["--steps", "5", "--hidden", "4"];
    done(&train(folder.path(), &arguments));
    // Weights to the classes so large that the scores overflow: the tensors lie in the order of their names.
    let mut changed = bytes(folder.path());
    let end = changed.len();
    for value in changed[end - 4 * 40..].as_chunks_mut::<4>().0 {
        *value = 3e38f32.to_le_bytes();
    }
    std::fs::write(folder.path().join(FILE), &changed).unwrap();
    let output = train(folder.path(), &["--steps", "50", "--hidden", "4"]);
    refused(&output, 4, &["diverged", "step 6", FILE, "is as it was", "--learning-rate", "0.5", "--restart"]);
    assert_eq!(steps_done(folder.path()), 5);
    assert_eq!(bytes(folder.path())[bytes(folder.path()).len() - 160..], changed[end - 160..]);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = folder();
    may_lose_its_reader(command(folder.path(), &["train", "--steps", "100"]));
}

#[cfg(unix)]
#[test]
fn restart_keeps_the_old_file_until_there_is_something_better() {
    let folder = folder();
    done(&train(folder.path(), &["--steps", "5", "--hidden", "4"]));
    let before = bytes(folder.path());
    done(&train(folder.path(), &["--steps", "5", "--hidden", "4", "--restart"]));
    assert_eq!(bytes(folder.path()), before);
    // Killed before a second is over, or a step if that is longer: this network's steps are slow.
    let mut command = command(folder.path(), &["train", "--restart", "--hidden", "1000,1000", "--steps", "1000"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bytes(folder.path()), before);
}

#[test]
fn a_network_worse_than_chance_is_warned_of() {
    let folder = folder();
    let output = train(folder.path(), &["--no-batch-norm", "--learning-rate", "1000", "--steps", "20"]);
    done(&output);
    assert!(text(&output.stderr).contains("warning") && text(&output.stderr).contains("worse than chance"));
    assert_eq!(text(&output.stderr).lines().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_is_written_through_and_one_to_nothing_is_named() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real/model", folder.path().join(FILE)).unwrap();
    refused(&train(folder.path(), &["--steps", "5"]), 3, &[FILE, "a link to real/model", "nothing"]);
    done(&train(folder.path(), &["--steps", "5", "--output", "real/model"]));
    done(&train(folder.path(), &["--steps", "9"]));
    assert!(folder.path().join(FILE).is_symlink());
    assert_eq!(steps_done(folder.path()), 9);
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf8_and_names_a_shell_would_split() {
    let folder = folder();
    let summary = support::json_with_odd_path(folder.path(), &["train", "--steps", "5", "--json", "--output"]);
    assert!(summary["file"].as_str().unwrap().contains('\u{fffd}'));
    let output = train(folder.path(), &["--steps", "5", "--output", "my\u{1b}[31m model"]);
    assert!(done(&output).contains(r"--model 'my\u{1b}[31m model' --digits"), "{}", text(&output.stdout));
}

/// The file through another program that keeps tensors alone: named as such, and used again by its description.
#[test]
fn a_model_whose_description_was_dropped_goes_on_and_predicts_by_it() {
    let folder = folder();
    let folder = folder.path();
    let short = ["--hidden", "7,5", "--steps", "20"];
    let summary = done(&train(folder, &[&short[..], &["--json"]].concat())).to_owned();
    let whole = bytes(folder);
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&whole[8..8 + length]).unwrap();
    let description = header["__metadata__"]["batchnorm"].as_str().unwrap().to_owned();
    header.as_object_mut().unwrap().remove("__metadata__");
    let header = header.to_string().into_bytes();
    let bare = [&(header.len() as u64).to_le_bytes()[..], &header, &whole[8 + length..]].concat();
    std::fs::write(folder.join("bare.safetensors"), &bare).unwrap();
    std::fs::write(folder.join("description.json"), description).unwrap();
    std::fs::write(folder.join("summary.json"), summary).unwrap();
    std::fs::write(folder.join("whole.safetensors"), &whole).unwrap();

    let predict = |more: &[&str]| run(folder, &[&["predict", "--digits", "test", "--json"], more].concat());
    let expected = done(&predict(&["--model", "whole.safetensors"])).replace("whole.safetensors", "bare.safetensors");
    let says =
        ["--model: bare.safetensors", "without its description, which programs drop", "give it by --description FILE"];
    refused(&predict(&["--model", "bare.safetensors"]), 3, &says);
    for given in ["description.json", "summary.json", "whole.safetensors"] {
        assert_eq!(done(&predict(&["--model", "bare.safetensors", "--description", given])), expected, "{given}");
    }
    let both = predict(&["--model", "whole.safetensors", "--description", "description.json"]);
    refused(&both, 3, &["got one that has its own", "leave --description out"]);
    let broken = predict(&["--model", "bare.safetensors", "--description", "bare.safetensors"]);
    refused(&broken, 3, &["--description: bare.safetensors", "without its description"]);

    // A training goes on from it, to the same bytes as from the whole file.
    let on = ["--hidden", "7,5", "--steps", "40"];
    done(&train(folder, &on));
    let expected = bytes(folder);
    let says = ["--output: bare.safetensors", "no training to go on from", "--description FILE", "--restart"];
    refused(&train(folder, &[&on[..], &["--output", "bare.safetensors"]].concat()), 3, &says);
    assert_eq!(std::fs::read(folder.join("bare.safetensors")).unwrap(), bare);
    done(&train(folder, &[&on[..], &["--output", "bare.safetensors", "--description", "summary.json"]].concat()));
    assert_eq!(std::fs::read(folder.join("bare.safetensors")).unwrap(), expected);
    let void = train(folder, &[&on[..], &["--output", "new.safetensors", "--description", "summary.json"]].concat());
    refused(&void, 2, &["--description: expected a training in --output new.safetensors"]);
}
