//! Every sentence by which `apply`, `explain`, `gradcheck` and `bench` refuse something, made to appear by what a user would
//! do. `golden/sentences.txt` has them, to be read as that user would: it names the file that is wrong and the shape that was
//! given, and what it advises helps. `SENTENCES=write` writes it anew; a sentence of the sources that is not in it fails.

#[path = "support/arrays.rs"]
mod arrays;
#[path = "../../batchnorm/tests/support/sentences.rs"]
mod golden;

use arrays::Folder;
use golden::{as_read, holds};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Sentences that no input of a few bytes brings about, with the reason.
const ELSEWHERE: [(&str, &str); 3] = [
    ("the answer is wrong at {place}", "a fault of ours: bench checks its answers before it times them"),
    ("to be the layer's within", "tests/explain/agrees_with_the_layer.rs has the input"),
    ("{flag}: expected {what}, got {got}", "of train and compare: tests/train.rs, tests/compare.rs"),
];

fn folder() -> Folder {
    let folder = Folder::new();
    let x: Vec<f64> = (0..12).map(|at| f64::from(at * 7 % 13) - 3.0).collect();
    let spoiled = |at: usize, value: f64| {
        let mut x = x.clone();
        x[at] = value;
        x
    };
    folder.save("x.npy", &[4, 3], &x);
    folder.save("turned.npy", &[3, 4], &x);
    folder.save("nan.npy", &[4, 3], &spoiled(4, f64::NAN));
    folder.save("single.npy", &[1, 3], &x[..3]);
    folder.save("five.npy", &[5, 3], &[&x[..], &[0.5, 1.0, 2.0]].concat());
    folder.save("empty.npy", &[0, 3], &[] as &[f64]);
    folder.save("flat.npy", &[12], &x);
    folder.save("constant.npy", &[4, 3], &[2.0; 12]);
    folder.save("far.npy", &[4, 3], &x.iter().map(|x| x * 1e250).collect::<Vec<f64>>());
    folder.save("x32.npy", &[4, 3], &x.iter().map(|&x| x as f32).collect::<Vec<f32>>());
    folder.save("fine.npy", &[4, 3], &[0.1; 12]);
    folder.save("g2.npy", &[2], &[1.0, 2.0]);
    folder.save("g3.npy", &[3], &[1.0, 2.0, 0.5]);
    folder.save("g43.npy", &[4, 3], &x);
    folder.save("negative.npy", &[3], &[1.0, -2.0, 0.5]);
    folder.save("nan3.npy", &[3], &[1.0, f64::NAN, 0.5]);
    folder.save("inf3.npy", &[3], &[1.0, f64::INFINITY, 0.5]);
    folder.save("huge3.npy", &[3], &[1.0, 1e200, 0.5]);
    folder.save("masked.npy", &[4, 1], &[0.0; 4]);
    folder.save("one_counts.npy", &[4, 1], &[1.0, 0.0, 0.0, 0.0]);
    folder.save("light.npy", &[4, 1], &[0.1f64; 4]);
    folder.save("weights.npy", &[4, 1], &[1.0, 2.0, 1.0, 1.0]);
    folder.save("w53.npy", &[5, 3], &[1.0; 15]);
    folder.save("w_negative.npy", &[4, 1], &[1.0, -1.0, 1.0, 1.0]);
    folder.save("tall.npy", &[70_000, 1], &[1.0; 70_000]);
    // Its numbers are a hole: nobody reads them.
    whole(&folder, "large.npy", "<f8", "(100000, 1000)", &[]);
    let large = std::fs::OpenOptions::new().write(true).open(folder.path("large.npy")).expect("a file");
    large.set_len(128 + 800_000_000).expect("a hole");
    folder.save("wide200.npy", &[200, 1], &(0..200).map(|at| f64::from(at % 7)).collect::<Vec<f64>>());
    whole(&folder, "long.npy", "<i8", "(2, 1)", &[(1i64 << 60) + 1, 3].map(i64::to_le_bytes).concat());
    whole(&folder, "unsigned.npy", "<u8", "(2, 1)", &[u64::MAX, 3].map(u64::to_le_bytes).concat());
    whole(&folder, "complex.npy", "<c16", "(1, 1)", &[0; 16]);
    whole(&folder, "text.npy", "<U3", "(2, 1)", &[0; 24]);
    folder.bytes("cut.npy", &std::fs::read(folder.path("x.npy")).expect("a file")[..150]);
    folder.bytes("no.npy", b"GIF89a and so on");
    for (name, text) in [
        ("ragged.csv", "1,2,3\n4,5\n"),
        ("hole.csv", "1,2,3\n4,,6\n7,8,9\n"),
        ("na.csv", "a,b\n1,2\nNA,4\n5,6\n"),
        ("word.csv", "a,b\n1,2\nthree,4\n"),
        ("thousands.csv", "a;b\n1.234.567;2\n1,5;3\n"),
        ("comma.csv", "a;b\n1,234;2\n5,678;3\n"),
        ("years.csv", "2019,2020\n1,2\n3,4\n5,6\n"),
        ("unclear.csv", "0,1\n3,4\n5,6\n"),
        ("names.csv", "a,b,c\n"),
        ("nothing.csv", ""),
        ("rownames.csv", "Unnamed: 0\n0\n1\n2\n"),
    ] {
        folder.bytes(name, text.as_bytes());
    }
    folder.bytes("latin.csv", b"a,b\n1,2\n3,\xe9\n");
    std::fs::create_dir(folder.path("theirs")).expect("a folder");
    folder.save("theirs/dbeta.npy", &[3], &[0.0; 3]);
    std::fs::create_dir(folder.path("none")).expect("a folder");
    for (name, shape) in [("shape", &[3, 4][..]), ("length", &[2])] {
        std::fs::create_dir(folder.path(name)).expect("a folder");
        let file = if name == "shape" { "dx.npy" } else { "dgamma.npy" };
        folder.save(&format!("{name}/{file}"), shape, &vec![0.0; shape.iter().product()]);
    }
    std::fs::create_dir(folder.path("two")).expect("a folder");
    folder.save("two/dx.npy", &[4, 3], &x);
    folder.bytes("two/dx.csv", b"1,2,3\n");
    let mut writer = batchnorm_io::npz::Writer::new(Vec::new(), batchnorm_io::npz::Packing::Deflated);
    writer.array("a", &[4, 3], &x).expect("an array");
    writer.array("b", &[4, 3], &x).expect("an array");
    folder.bytes("several.npz", &writer.finish().expect("an archive"));
    folder
}

/// A .npy file of a type that we do not write.
fn whole(folder: &Folder, name: &str, descr: &str, shape: &str, data: &[u8]) {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{text:<117}\n").into_bytes();
    folder.bytes(name, &[b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], &header, data].concat());
}

const EVAL: &str = "--mode eval --running-mean g3.npy --running-var";
const JUDGE: &str = "gradcheck --input x.npy --gradient x.npy --against";

/// The commands, in a folder with these files.
fn commands() -> Vec<String> {
    let apply = |more: &str| format!("apply --output-dir out {more}");
    let mut all: Vec<String> = [
        "--input missing.npy",
        "--input cut.npy",
        "--input no.npy",
        "--input complex.npy",
        "--input text.npy",
        "--input unsigned.npy",
        "--input long.npy",
        "--input flat.npy",
        "--input several.npz",
        "--input several.npz:c",
        "--input ragged.csv",
        "--input hole.csv",
        "--input na.csv",
        "--input word.csv",
        "--input thousands.csv",
        "--input comma.csv",
        "--input unclear.csv",
        "--input names.csv",
        "--input nothing.csv",
        "--input rownames.csv",
        "--input latin.csv",
        "--input x.npy --header yes",
        "--input x.npy --channel-axis 2",
        "--input x.npy --channel-axis 1,-1",
        "--input x.npy --channel-axis 1,0",
        "--input x.npy --channel-axis 1,x",
        "--input x.npy --gamma g2.npy",
        "--input x.npy --gamma g43.npy",
        "--input x.npy --gamma nan3.npy",
        "--input x.npy --running-mean inf3.npy",
        "--input x.npy --running-var negative.npy",
        "--input x.npy --gradient turned.npy",
        "--input x32.npy --gradient fine.npy",
        "--input x.npy --weights w53.npy",
        "--input x.npy --weights w_negative.npy",
        "--input nan.npy --weights nan.npy",
        "--input x.npy --weights masked.npy --on-empty error",
        "--input x.npy --weights light.npy",
        "--input x.npy --weights one_counts.npy",
        "--input single.npy",
        "--input single.npy --gradient single.npy --on-single-value use-running",
        "--input five.npy --ghost 2",
        "--input five.npy --ghost 1",
        "--input single.npy --ghost 4",
        "--input empty.npy --on-empty error",
        "--input nan.npy --on-non-finite error",
        "--input x.npy --epsilon -1",
        "--input x.npy --epsilon inf",
        "--input x.npy --update-weight 1.5",
        "--input x.npy --update-weight now",
        "--input x.npy --update-weight new:x",
        "--input x.npy --preset keras --update-weight 0.99",
        "--input x.npy --update-weight cumulative --running-mean g3.npy",
        "--input x.npy --update-weight debiased:cumulative",
        "--input x.npy --update-weight debiased:2",
        "--input x.npy --preset haiku --running-mean g3.npy --running-var g3.npy",
        "--input x.npy --renorm 3",
        "--input x.npy --renorm 0.5,5",
        "--input x.npy --weights light.npy --ghost 2",
        "--input x.npy --batches 3",
        "--input x.npy --batches 1.5 --update-weight cumulative --running-mean g3.npy --running-var g3.npy",
        "--input x.npy --batches negative.npy --update-weight cumulative --running-mean g3.npy --running-var g3.npy",
        "--input x.npy --weights masked.npy --ghost 2 --on-empty error",
        "--input x.npy --preset keras --update-weight debiased:0.1",
        "--input x.npy --update-weight debiased:debiased:0.1",
        "--input x.npy --batches 0 --update-weight cumulative --running-mean g3.npy --running-var g3.npy",
        "--input x.npy --on-constant zero",
        "--input x.npy --on-single-value use-running",
        "--input x.npy --mode eval",
        "--input x.npy --mode eval --running-mean g3.npy",
    ]
    .map(apply)
    .to_vec();
    all.extend(
        ["--ghost 2", "--update-weight 0.1", "--on-empty pass"]
            .map(|flags| apply(&format!("--input x.npy {EVAL} g3.npy {flags}"))),
    );
    all.extend([
        apply(&format!("--input x.npy {EVAL} negative.npy")),
        apply(&format!("--input x.npy {EVAL} g2.npy")),
        "apply --input x.npy --output-dir x.npy".into(),
        "apply --input out2/y.npy --output-dir out2".into(),
    ]);
    let explain = [
        "--input x.npy --epsilon -1",
        "--input x.npy --row 0",
        "--input x.npy --layer norm --channel 0",
        "--input x.npy --layer norm --weights masked.npy",
        "--weights masked.npy",
        "--channel-axis 0",
        "--input x.npy --layer rms --running-mean 0",
        "--input x.npy --running-var 1",
        "--input x.npy --layer group",
        "--input x.npy --groups 3",
        "--input x.npy --json --dot -",
        "--input x.npy --dot a --html a",
        "--input x.npy --html x.npy",
        "--input flat.npy",
        "--input x.npy --channel-axis 2",
        "--input x.npy --channel-axis 0,1",
        "--input x.npy --layer group --groups 2",
        "--input single.npy",
        "--input x.npy --layer instance",
        "--input tall.npy",
        "--input large.npy",
        "--input wide200.npy --html page.html",
        "--input x.npy --channel 3",
        "--input x.npy --gradient turned.npy",
        "--input x.npy --weights weights.npy",
        "--input x.npy --weights one_counts.npy",
        "--input x.npy --weights w_negative.npy",
        "--input nan.npy --channel 1",
        "--input x.npy --gradient nan.npy --channel 1",
        "--input x.npy --gamma 1,2",
        "--input x.npy --gamma 1,x,3",
        "--input x.npy --gamma inf",
        "--input x.npy --gamma nothing.npy",
        "--input x.npy --gamma g2.npy",
        "--input x.npy --mode eval --running-mean 0 --running-var -1",
        "--input constant.npy --epsilon 0",
        "--input far.npy",
        "--input x.npy --gradient far.npy --gamma 1e200",
    ];
    all.extend(explain.map(|more| format!("explain {more}")));
    let gradcheck = [
        "--epsilon -1",
        "--gamma g3.npy",
        "--input x.npy --layer norm --channel-axis 1",
        "--layer batch --groups 3",
        "--layer group --groups 4 --shape 4,6",
        "--layer norm --mode eval",
        "--input x.npy --layer norm --weights weights.npy",
        "--input x.npy --layer batch --running-mean g3.npy",
        "--input x.npy --layer norm --running-mean g3.npy",
        "--input x.npy --gradient turned.npy",
        "--input nan.npy",
        "--input x.npy --gradient nan.npy",
        "--input flat.npy",
        "--input x.npy --channel-axis 5",
        "--input x.npy --channel-axis 0,1",
        "--shape 4",
        "--shape 4,x",
        "--shape 4000,4000",
        "--input single.npy",
        "--input x.npy --gamma g2.npy",
        "--input x.npy --gamma nan3.npy",
        "--input x.npy --mode eval --running-mean g3.npy --running-var negative.npy",
        "--input far.npy --layer batch",
        "--input x.npy --gamma huge3.npy --layer batch",
        "--input constant.npy --epsilon 0 --layer batch",
        "--input x.npy --weights w_negative.npy",
        "--input x.npy --weights one_counts.npy",
        "--input large.npy",
        "--input x.npy --weights masked.npy --layer weighted",
        "--input x.npy --against theirs",
        "--input x.npy --gradient x.npy --against theirs --layer ghost",
        "--input x.npy --gradient x.npy --against theirs --mode eval",
        "--input x.npy --gradient x.npy --against theirs --mode eval --running-mean g3.npy --running-var g3.npy --weights weights.npy",
        "--renorm 3,5",
        "--input x.npy --gradient x.npy --against theirs --layer renormalized",
        "--input x.npy --gradient x.npy --against theirs --layer renormalized --running-mean g3.npy --running-var g3.npy",
        "--input x.npy --gradient x.npy --against theirs --layer renormalized --running-mean g3.npy --running-var negative.npy --renorm 3,5",
        "--input x.npy --gradient x.npy --against theirs --layer group",
        "--input x.npy --gradient x.npy --against theirs --layer group --groups 2",
        "--input x.npy --gradient turned.npy --against theirs",
        "--input single.npy --gradient single.npy --against theirs",
        "--input x.npy --gradient x.npy --against theirs --layer instance",
        "--input nan.npy --gradient x.npy --against theirs",
        "--input far.npy --gradient x.npy --against theirs",
        "--input x.npy --gradient x.npy --against theirs --weights one_counts.npy",
        "--input x.npy --gradient x.npy --against theirs --weights w_negative.npy",
        "--input x.npy --gradient x.npy --gamma nan3.npy --against theirs",
        "--input x.npy --gradient x.npy --gamma g2.npy --against theirs",
    ];
    all.extend(gradcheck.map(|more| format!("gradcheck {more}")));
    all.extend(
        ["missing", "none", "x.npy", "two", "shape", "length", "several.npz"].map(|folder| format!("{JUDGE} {folder}")),
    );
    all.extend(
        ["--shape 4", "--shape 0,3", "--shape 1,3", "--shape 9000000000,9000000000"]
            .map(|more| format!("bench {more}")),
    );
    all
}

/// The string literals of a source file, without its tests and comments, lines joined.
fn literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let (mut found, mut rest) = (Vec::new(), code.as_str());
    while let Some((_, behind)) = rest.split_once('"') {
        let mut text = String::new();
        let mut letters = behind.char_indices();
        rest = "";
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    rest = &behind[at + 1..];
                    break;
                }
                '\\' => match letters.next() {
                    // A line that goes on: without its indentation.
                    Some((_, '\n')) => {
                        let indented = letters.as_str();
                        let skipped = indented.len() - indented.trim_start().len();
                        letters.by_ref().take(skipped).for_each(drop);
                    }
                    Some((_, other)) => text.push(other),
                    None => {}
                },
                other => text.push(other),
            }
        }
        found.push(text);
    }
    found
}

/// All source files of the commands.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("the sources").map(|entry| entry.expect("one").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("below").display().to_string();
        if path.is_dir() {
            sources(&path, found);
        } else if ["apply", "arrays", "explain", "gradcheck", "bench"].iter().any(|command| name.starts_with(command)) {
            found.push((name, std::fs::read_to_string(&path).expect("text")));
        }
    }
}

#[test]
fn every_sentence_appears_and_is_the_one_that_was_read() {
    let folder = folder();
    std::fs::create_dir(folder.path("out2")).expect("a folder");
    folder.save("out2/y.npy", &[4, 3], &(0..12).map(f64::from).collect::<Vec<f64>>());
    let mut table = String::new();
    for command in commands() {
        let mut program = Command::new(env!("CARGO_BIN_EXE_batchnorm"));
        let words = command.split(' ').filter(|word| !word.is_empty());
        let output = program.current_dir(folder.0.path()).args(words).output().expect("it starts");
        let message = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> =
            message.lines().filter(|line| !line.contains(": warning: ") && !line.contains(": note: ")).collect();
        let code = output.status.code().expect("no signal");
        let said = if code == 0 { "(done)".to_owned() } else { said.join("\n        ") };
        writeln!(table, "{command}\n    {code} {said}").expect("a string");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/sentences.txt");
    let golden = as_read(path, &table, "SENTENCES");
    let mut all = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut all);
    let pairs = include_str!("golden/flag_pairs.txt");
    let mut missing = Vec::new();
    for (name, source) in all {
        let sentences = literals(&source)
            .into_iter()
            .filter(|text| text.contains("expected ") && !text.contains('`') || text.contains(": expected"));
        for sentence in sentences {
            let elsewhere = ELSEWHERE.iter().any(|(known, _)| sentence.contains(known));
            if !elsewhere && !holds(&golden, &sentence) && !holds(pairs, &sentence) {
                missing.push(format!("{name}: {sentence}"));
            }
        }
    }
    assert!(missing.is_empty(), "no command brings about:\n{}", missing.join("\n"));
}
