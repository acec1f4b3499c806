//! Flags that do not go together, arrays that cannot be explained, and limits are refused, and it is said how to mend it.

use crate::arrays::Folder;
use crate::support::{done, noise, refused};
use crate::{explain, json, values};
use batchnorm_io::npy;
use serde_json::Value;

#[test]
fn flags_that_do_not_go_together_are_refused() {
    let folder = Folder::new();
    for (arguments, says) in [
        (&["--epsilon", "-1"][..], "--epsilon: expected a finite number >= 0, got -1"),
        (&["--epsilon", "nan"], "--epsilon"),
        (&["--row", "0"], "--row: expected with norms that take rows"),
        (&["--layer", "norm", "--channel", "0"], "--channel: expected with --layer batch"),
        (&["--layer", "group"], "--layer group: expected --groups G"),
        (&["--groups", "2"], "--groups: expected with --layer group"),
        (&["--groups", "2"], "--groups"),
        (&["--mode", "eval"], "--running-mean and --running-var"),
        (&["--running-mean", "1", "--running-var", "2"], "--mode eval"),
        (
            &["--layer", "rms", "--mode", "eval", "--running-mean", "1", "--running-var", "2"],
            "expected with --layer batch",
        ),
        (&["--channel", "1"], "--channel: expected 0 to 0"),
        (&["--channel-axis", "0"], "--channel-axis: expected with --input"),
        (&["--json", "--dot", "-"], "there is one stdout"),
        (&["--html", "-", "--dot", "-"], "there is one stdout"),
        (&["--html", "a", "--dot", "a"], "--html a: expected a file of its own, got that of --dot"),
    ] {
        refused(&explain(&folder, arguments), 2, &[says]);
    }
    assert!(folder.names(".").is_empty());
}

#[test]
fn arrays_that_cannot_be_explained_are_refused() {
    let folder = Folder::new();
    folder.save("x.npy", &[4, 2], &noise(8, 0.0, 7));
    folder.save("one.npy", &[1, 3], &[1.0, 2.0, 3.0]);
    folder.save("single.npy", &[3, 1], &[1.0, 2.0, 3.0]);
    folder.save("none.npy", &[0, 3], &[] as &[f64]);
    folder.save("flat.npy", &[3], &[1.0, 2.0, 3.0]);
    folder.save("nan.npy", &[2, 2], &[1.0, f64::NAN, 2.0, 3.0]);
    folder.save("inf.npy", &[4, 2], &[1.0, 0.0, f64::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]);
    folder.save("huge.npy", &[2, 1], &[1e200, -1e200]);
    folder.save("small.npy", &[3, 1], &[0.0, 1e-150, 2e-150]);
    folder.save("far.npy", &[5, 1], &[0.0, 0.125, 0.25, 0.25, 1.0].map(|rest| 1e15 + rest));
    folder.save("other.npy", &[2, 4], &noise(8, 0.0, 8));
    folder.bytes("ragged.csv", b"1,2\n3\n");
    folder.bytes("words.csv", b"a,b\n1,2\n3,four\n");
    folder.bytes("empty.csv", b"1,2\n3,\n");
    folder.bytes("row.csv", b"1,2,3\n");
    folder.bytes("missing.csv", b"1,NA\n2,3\n");
    folder.bytes("thousands.csv", b"1,234;2\n3,456;4\n");
    folder.bytes("counters.csv", b"0,1\n3,4\n5,7\n");
    folder.bytes("nan.csv", b"1,2\nnan,3\n");
    for (arguments, code, says) in [
        (&["--input", "no.npy"][..], 3, "no.npy"),
        (&["--input", "x.npy", "--channel-axis", "2"], 2, "--channel-axis: expected -2 to 1 (shape [4, 2]), got 2"),
        (&["--input", "no.csv"], 3, "no.csv: cannot be read"),
        (&["--input", "ragged.csv"], 3, "ragged.csv: line 2: expected 2 values as in the first row, got 1"),
        (&["--input", "words.csv"], 3, "words.csv: line 3, column 2: expected a number, got `four`"),
        (&["--input", "empty.csv"], 3, "empty.csv: line 2, column 2: expected a number, got an empty cell"),
        (
            &["--input", "missing.csv"],
            3,
            "missing.csv: line 1, column 2: expected a number, got `NA`; fill in what is missing",
        ),
        (
            &["--input", "thousands.csv"],
            3,
            "got `1,234`; its comma may stand in front of decimals or between thousands",
        ),
        (&["--input", "counters.csv"], 3, "`0,1` may name the columns or be the first sample"),
        (&["--input", "row.csv"], 4, "row.csv: expected at least 2 values a feature to normalise by, got 1"),
        (&["--input", "one.npy"], 4, "one.npy: expected at least 2 values a feature"),
        (&["--input", "single.npy", "--layer", "instance"], 4, "got 1 (shape [3, 1])"),
        (&["--input", "none.npy"], 4, "got 0 (shape [0, 3])"),
        (&["--input", "flat.npy"], 3, "flat.npy: expected at least two axes"),
        (&["--input", "nan.npy", "--channel", "1"], 4, "nan.npy: expected finite values, got NaN at [0, 1]"),
        (&["--input", "nan.csv"], 4, "nan.csv: expected finite values, got NaN at [1, 0]"),
        (&["--input", "inf.npy"], 4, "inf.npy: expected finite values, got inf at [1, 0]"),
        (&["--input", "x.npy", "--gradient", "inf.npy"], 4, "inf.npy: expected finite values, got inf at [1, 0]"),
        (
            &["--input", "x.npy", "--gradient", "other.npy"],
            3,
            "other.npy: expected the input's shape [4, 2], got [2, 4]",
        ),
        (&["--input", "x.npy", "--gamma", "1,2,3"], 2, "--gamma 1,2,3: expected 2 values, one for each channel, got 3"),
        (&["--input", "x.npy", "--gamma", "1,x"], 2, "--gamma 1,x: expected numbers such as 1.5,2, got `x`"),
        (&["--input", "x.npy", "--gamma", "2,"], 2, "got `` among them"),
        (&["--input", "x.npy", "--gamma", "inf"], 2, "--gamma inf: expected finite values"),
        (&["--input", "x.npy", "--beta", "nothing.npy"], 3, "--beta nothing.npy: expected a file, or numbers"),
        (
            &["--input", "x.npy", "--beta", "single.npy"],
            3,
            "single.npy: expected shape [2], one value for each channel (axes of length 1 do not matter), got [3, 1]",
        ),
        (&["--input", "x.npy", "--layer", "group", "--groups", "3"], 3, "3 groups divide evenly, got 2"),
        (&["--input", "huge.npy"], 4, "`squared` overflows"),
        (&["--input", "small.npy", "--epsilon", "0", "--gamma", "1e200"], 4, "overflows; divide the upstream gradient"),
        (&["--input", "far.npy"], 4, "subtract from the input what all values have in common"),
        (
            &["--mode", "eval", "--running-mean", "1", "--running-var", "-1"],
            2,
            "--running-var -1: expected values >= 0, got -1",
        ),
    ] {
        refused(&explain(&folder, arguments), code, &[says]);
    }
    // The other channel of a broken file is fine, and so is one value in norms that take it: y = beta.
    done(&explain(&folder, &["--input", "nan.npy"]));
    for layer in [&["--layer", "rms"][..], &["--layer", "norm"], &["--layer", "group", "--groups", "1"]] {
        let arguments: Vec<&str> = ["--input", "single.npy", "--beta", "0.5"].iter().chain(layer).copied().collect();
        done(&explain(&folder, &arguments));
    }
}

#[test]
fn limits_are_said_before_anything_large_is_read() {
    let folder = Folder::new();
    // Files with holes where their numbers would be: nobody reads them.
    let sparse = |name: &str, shape: &[usize]| {
        let header = npy::encode(&[0, shape[1]], &[] as &[f64]).expect("a right array");
        let mut bytes = String::from_utf8_lossy(&header[10..]).into_owned();
        bytes = bytes.replace(&format!("(0, {})", shape[1]), &format!("({}, {})", shape[0], shape[1]));
        let mut whole = header[..10].to_vec();
        whole.extend_from_slice(&bytes.as_bytes()[..header.len() - 10 - 1]);
        whole.push(b'\n');
        let path = folder.bytes(name, &whole);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(whole.len() as u64 + 8 * shape.iter().product::<usize>() as u64).unwrap();
    };
    sparse("large.npy", &[10_000, 10_000]);
    refused(
        &explain(&folder, &["--input", "large.npy"]),
        3,
        &["large.npy: expected at most 16777216 values, got shape [10000, 10000]; save a part of the array"],
    );
    sparse("long.npy", &[70_000, 2]);
    refused(&explain(&folder, &["--input", "long.npy"]), 3, &["at most 65536 values a feature, got 70000"]);
    folder.save("page.npy", &[129, 1], &noise(129, 0.0, 9));
    refused(
        &explain(&folder, &["--input", "page.npy", "--html", "page.html"]),
        3,
        &["--html: expected at most 128 values a feature for a page, got 129", "--json"],
    );
    assert!(!folder.path("page.html").exists());
    let json = json(&folder, &["--input", "page.npy"]);
    assert_eq!((json["jacobian"].clone(), values(&json, "x").len()), (Value::Null, 129));
    // The longest that is taken.
    folder.save("most.npy", &[65_536, 1], &noise(65_536, 100.0, 10));
    done(&explain(&folder, &["--input", "most.npy"]));
}
