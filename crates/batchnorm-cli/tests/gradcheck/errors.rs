//! Refusals name the flag or the file, what was expected and what came, and have their exit codes.

use crate::somebody::{AGAINST, Case, SHAPE, Somebody};
use crate::support::{refused, text};
use crate::{arrays::Folder, gradcheck};
use serde_json::Value;
use std::process::Output;

/// Right gradients in files.
fn right() -> Case {
    let case = Case::new(47);
    case.inputs::<f64>();
    case.save::<f64>(Somebody::Right);
    case
}

/// Runs with more flags.
fn with(folder: &Folder, more: &[&str]) -> Output {
    gradcheck(folder, &[&AGAINST[..], more].concat())
}

/// Runs with another word at one place of the command line.
fn replaced(folder: &Folder, at: usize, by: &str) -> Output {
    let mut arguments = AGAINST;
    arguments[at] = by;
    gradcheck(folder, &arguments)
}

#[test]
fn flags_that_cannot_be_or_do_not_go_together() {
    let case = right();
    let folder = &case.folder;
    refused(&replaced(folder, 7, "-1"), 2, &["--epsilon", ">= 0", "-1"]);
    refused(&with(folder, &["--channel-axis", "5"]), 3, &["x.npy", "channel_axis", "5"]);
    refused(&with(folder, &["--layer", "ghost"]), 2, &["--layer ghost", "--against"]);
    refused(&with(folder, &["--layer", "group", "--groups", "2"]), 2, &["--groups 2", "divisor"]);
    refused(&with(folder, &["--mode", "eval"]), 2, &["--running-mean"]);
    refused(&with(folder, &["--mode", "eval", "--layer", "norm"]), 2, &["--mode eval", "--layer batch"]);
    // No flag is passed over.
    refused(&with(folder, &["--groups", "3"]), 2, &["--groups", "--layer group"]);
    refused(&with(folder, &["--running-mean", "gamma.npy"]), 2, &["--running-mean", "--mode eval"]);
    refused(&with(folder, &["--layer", "norm", "--weights", "gamma.npy"]), 2, &["--weights", "batch norm in training"]);
    refused(&with(folder, &["--beta", "nowhere.npy"]), 3, &["nowhere.npy"]);
    let own = |more: &[&str]| gradcheck(folder, &[&AGAINST[..4], more].concat());
    refused(&own(&["--layer", "batch", "--weights", "gamma.npy"]), 2, &["--weights", "--layer weighted"]);
    refused(&own(&["--layer", "relu", "--groups", "3"]), 2, &["--groups", "--layer group"]);
    refused(&own(&["--layer", "ghost", "--running-var", "gamma.npy"]), 2, &["--running-var", "--mode eval"]);
    let renormalized = ["--layer", "renormalized", "--running-mean", "gamma.npy", "--running-var", "gamma.npy"];
    refused(&with(folder, &renormalized), 2, &["--layer renormalized", "--renorm R,D"]);
    refused(&with(folder, &[&renormalized[..4], &["--renorm", "3,5"]].concat()), 2, &["--running-var", "give both"]);
    refused(&with(folder, &[&renormalized[..], &["--renorm", "3"]].concat()), 2, &["--renorm", "two numbers", "`3`"]);
    refused(&with(folder, &[&renormalized[..], &["--renorm", "0.5,1"]].concat()), 2, &["--renorm", "r_max", "0.5"]);
    refused(&with(folder, &["--renorm", "3,5"]), 2, &["--renorm", "--layer renormalized"]);
    refused(&own(&["--layer", "renormalized", "--renorm", "3,5"]), 2, &["--renorm", "--against"]);
    refused(&with(folder, &["--layer", "group-rms"]), 2, &["--groups G"]);
    refused(&own(&["--channel-axis", "5"]), 3, &["x.npy: ", "--channel-axis", "5"]);
    let output = gradcheck(folder, &["--against", "theirs"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(
        text(&gradcheck(folder, &["--help"]).stdout).contains("1    what was checked is wrong: a gradient (gradcheck)")
    );
}

#[test]
fn folders_and_files_that_are_missing_or_something_else() {
    let case = right();
    let folder = &case.folder;
    refused(&replaced(folder, 9, "nowhere"), 3, &["--against nowhere", "expected a folder"]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    refused(&replaced(folder, 9, "empty"), 3, &["--against empty", "one of dx, dgamma and dbeta", "found none"]);
    folder.bytes("file", b"");
    refused(&replaced(folder, 9, "file"), 3, &["--against file", "expected a folder", "found a file"]);
    refused(&replaced(folder, 1, "none.npy"), 3, &["none.npy"]);
}

#[test]
fn arrays_of_other_shapes_and_numbers_that_are_none() {
    let case = right();
    let folder = &case.folder;
    folder.save("dy.npy", &[6, 5, 3], &case.dy);
    refused(&with(folder, &[]), 3, &["dy.npy", "[6, 3, 5]", "[6, 5, 3]"]);
    refused(&gradcheck(folder, &AGAINST[..4]), 3, &["dy.npy", "[6, 3, 5]", "[6, 5, 3]"]);
    let mut dy = case.dy.clone();
    dy[17] = f64::NAN;
    folder.save("dy.npy", &SHAPE, &dy);
    refused(&with(folder, &[]), 4, &["dy.npy", "finite", "NaN", "[1, 0, 2]"]);
    refused(&gradcheck(folder, &AGAINST[..4]), 4, &["dy.npy", "finite", "NaN"]);
    case.inputs::<f64>();
    folder.save("gamma.npy", &[2], &[1.0, 2.0]);
    refused(&with(folder, &[]), 3, &["gamma.npy", "[3]", "[2]", "in the layer's order"]);
    folder.save("gamma.npy", &[3], &case.gamma);
    folder.save("theirs/dx.npy", &[6, 15], &case.x);
    refused(&with(folder, &[]), 3, &["dx.npy", "[6, 3, 5]", "[6, 15]"]);
    case.save::<f64>(Somebody::Right);
    folder.save("theirs/dgamma.npy", &[6], &[0.0; 6]);
    refused(&with(folder, &[]), 3, &["dgamma.npy", "[3]", "[6]", "right axes"]);
    // A gradient that is not finite is wrong, not refused.
    folder.save("theirs/dgamma.npy", &[3], &[0.0, f64::NAN, 0.0]);
    let (value, code) = case.judged(&[]);
    let gradient = &value["gradients"]["dgamma"];
    assert_eq!(
        (code, &gradient["verdict"], &gradient["index"]),
        (1, &Value::from("not finite"), &serde_json::json!([1]))
    );
}

#[test]
fn arrays_that_are_too_small_or_too_large() {
    let case = right();
    let folder = &case.folder;
    refused(&gradcheck(folder, &["--shape", "4"]), 2, &["--shape", "`4`"]);
    refused(&gradcheck(folder, &["--shape", "10000,10000"]), 2, &["--shape", "at most 1048576 values"]);
    refused(&gradcheck(folder, &["--shape", "1,4"]), 4, &["at least 2 values a channel", "got 1"]);
    folder.save("single.npy", &[1, 4], &[1.0; 4]);
    let single = ["--input", "single.npy", "--gradient", "single.npy", "--against", "theirs"];
    refused(&gradcheck(folder, &single), 4, &["single.npy", "at least 2 values", "got 1"]);
    folder.save("large.npy", &[4097, 4096], &vec![0.0f32; 4097 * 4096]);
    let large = ["--input", "large.npy", "--gradient", "large.npy", "--against", "theirs"];
    refused(&gradcheck(folder, &large), 3, &["large.npy", "at most 16777216 values", "[4097, 4096]"]);
    refused(&gradcheck(folder, &large[..2]), 3, &["large.npy", "at most 1048576 values"]);
}
