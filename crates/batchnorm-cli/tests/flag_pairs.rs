//! Every pair of flags of `apply`, `explain` and `gradcheck`: it goes together, or is refused by the sentence that
//! `golden/flag_pairs.txt` has. That file is to be read as a user would: `FLAG_PAIRS=write` writes it anew.

#[path = "support/arrays.rs"]
mod arrays;
#[path = "../../batchnorm/tests/support/sentences.rs"]
mod golden;

use arrays::Folder;
use golden::as_read;
use std::fmt::Write;
use std::process::Command;

/// Flags with a value that means something by itself.
const APPLY: &[&[&str]] = &[
    &["--header", "no"],
    &["--channel-axis", "-1"],
    &["--mode", "eval"],
    &["--gradient", "dy.npy"],
    &["--weights", "w.npy"],
    &["--ghost", "2"],
    &["--gamma", "v.npy"],
    &["--beta", "v.npy"],
    &["--running-mean", "m.npy", "--running-var", "v.npy"],
    &["--running-mean", "m.npy"],
    &["--running-var", "v.npy"],
    &["--batches", "3"],
    &["--preset", "keras"],
    &["--preset", "mindspore"],
    &["--epsilon", "1e-3"],
    &["--update-weight", "0.3"],
    &["--update-weight", "old:0.7"],
    &["--update-weight", "cumulative"],
    &["--update-weight", "debiased:0.3"],
    &["--preset", "haiku"],
    &["--renorm", "3,5"],
    &["--running-estimator", "population"],
    &["--on-single-value", "use-running"],
    &["--on-single-value", "population"],
    &["--on-empty", "error"],
    &["--on-non-finite", "update"],
    &["--on-constant", "derivative"],
    &["--threads", "2"],
    &["--tier", "baseline"],
    &["--json"],
];
const EXPLAIN: &[&[&str]] = &[
    &["--input", "x.npy"],
    &["--input", "x.csv"],
    &["--header", "no"],
    &["--layer", "norm"],
    &["--layer", "group", "--groups", "3"],
    &["--layer", "group"],
    &["--layer", "instance"],
    &["--layer", "rms"],
    &["--channel-axis", "-1"],
    &["--channel", "0"],
    &["--row", "0"],
    &["--groups", "1"],
    &["--gradient", "dy.npy"],
    &["--weights", "w.npy"],
    &["--gamma", "2"],
    &["--beta", "0.5"],
    &["--epsilon", "1e-3"],
    &["--mode", "eval", "--running-mean", "0", "--running-var", "1"],
    &["--mode", "eval"],
    &["--running-mean", "0"],
    &["--running-var", "1"],
    &["--json"],
    &["--dot", "-"],
    &["--html", "page.html"],
];
const GRADCHECK: &[&[&str]] = &[
    &["--input", "x.npy"],
    &["--input", "x.npy", "--gradient", "dy.npy", "--against", "theirs"],
    &["--against", "theirs"],
    &["--header", "no"],
    &["--gradient", "dy.npy"],
    &["--channel-axis", "-1"],
    &["--layer", "batch"],
    &["--layer", "evaluation"],
    &["--layer", "weighted"],
    &["--layer", "norm"],
    &["--layer", "group"],
    &["--layer", "ghost"],
    &["--layer", "renormalized"],
    &["--layer", "renormalized", "--running-mean", "m.npy", "--running-var", "v.npy"],
    &["--layer", "group-rms"],
    &["--renorm", "3,5"],
    &["--groups", "3"],
    &["--mode", "eval"],
    &["--gamma", "v.npy"],
    &["--beta", "v.npy"],
    &["--running-mean", "m.npy"],
    &["--running-mean", "m.npy", "--running-var", "v.npy"],
    &["--weights", "w.npy"],
    &["--epsilon", "1e-3"],
    &["--shape", "4,3"],
    &["--seed", "3"],
    &["--json"],
];

fn folder() -> Folder {
    let folder = Folder::new();
    let x: Vec<f64> = (0..18).map(|at| f64::from(at * 7 % 13) - 3.0 + 0.1 * f64::from(at)).collect();
    let dy: Vec<f64> = (0..18).map(|at| f64::from(at * 5 % 11) / 7.0 - 0.6).collect();
    folder.save("x.npy", &[6, 3], &x);
    folder.save("dy.npy", &[6, 3], &dy);
    folder.save("w.npy", &[6, 1], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
    folder.save("m.npy", &[3], &[0.5, 1.0, -0.5]);
    folder.save("v.npy", &[3], &[1.5, 2.0, 0.75]);
    let rows: Vec<String> = x.chunks(3).map(|row| format!("{},{},{}\n", row[0], row[1], row[2])).collect();
    folder.bytes("x.csv", rows.concat().as_bytes());
    std::fs::create_dir(folder.path("theirs")).expect("a folder");
    // Batch norm's dbeta at gamma 1: right whatever else is given in training.
    let sums: Vec<f64> = (0..3).map(|c| dy.iter().skip(c).step_by(3).sum()).collect();
    folder.save("theirs/dbeta.npy", &[3], &sums);
    folder
}

/// What comes of these flags: nothing, or the code and the sentence.
fn refusal(folder: &Folder, command: &str, flags: &[&str]) -> Option<String> {
    let fixed: &[&str] = if command == "apply" { &["--input", "x.npy", "--output-dir", "out"] } else { &[] };
    let mut program = Command::new(env!("CARGO_BIN_EXE_batchnorm"));
    let output = program.current_dir(folder.0.path()).arg(command).args(fixed).args(flags).output().expect("it starts");
    let message = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().expect("no signal");
    if code == 0 {
        return None;
    }
    // (Of the parser's, several lines: what is missing, before the usage.)
    let whole =
        message.split("\n\n").next().unwrap_or_default().lines().map(str::trim).collect::<Vec<&str>>().join(" ");
    let said = whole.strip_prefix("batchnorm: ").or_else(|| whole.strip_prefix("error: "));
    Some(format!("{code} {}", said.unwrap_or_else(|| panic!("{command} {flags:?}: {message}"))))
}

/// The flags of a pair, unless they are the same one twice.
fn pair(one: &[&'static str], other: &[&'static str]) -> Option<Vec<&'static str>> {
    let names =
        |flags: &[&'static str]| flags.iter().copied().filter(|flag| flag.starts_with("--")).collect::<Vec<_>>();
    let twice = names(one).iter().any(|name| names(other).contains(name));
    (!twice).then(|| [one, other].concat())
}

#[test]
fn every_pair_goes_together_or_is_refused_by_a_sentence() {
    let folder = folder();
    let mut table = String::new();
    for (command, flags) in [("apply", APPLY), ("explain", EXPLAIN), ("gradcheck", GRADCHECK)] {
        let (mut pairs, mut refused) = (0, 0);
        let mut lines = String::new();
        let mut alone = Vec::new();
        for (at, &one) in flags.iter().enumerate() {
            let said = refusal(&folder, command, one);
            if let Some(said) = &said {
                writeln!(lines, "{}\n    {said}", one.join(" ")).expect("a string");
            }
            alone.push(said);
            for (&other, before) in flags[..at].iter().zip(&alone) {
                let Some(both) = pair(other, one) else { continue };
                pairs += 1;
                let Some(said) = refusal(&folder, command, &both) else { continue };
                refused += 1;
                // What one of them is refused for by itself needs no second line.
                if Some(&said) != before.as_ref() && Some(&said) != alone[at].as_ref() {
                    writeln!(lines, "{}\n    {said}", both.join(" ")).expect("a string");
                }
            }
        }
        writeln!(table, "# {command}: {pairs} pairs, {refused} refused\n{lines}").expect("a string");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/flag_pairs.txt");
    as_read(path, &table, "FLAG_PAIRS");
}
