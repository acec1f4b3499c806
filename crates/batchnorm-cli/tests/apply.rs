//! `batchnorm apply` as a user runs it: results, every flag, and what it says of bad arguments and files.

#[path = "support/arrays.rs"]
mod arrays;
mod support;

use arrays::Folder;
use batchnorm_io::npy::{self, Numbers};
use std::process::Command;

fn x() -> Vec<f32> {
    (0..48).map(|i| ((i * 7) % 13) as f32 + if i % 2 == 0 { 100.0 } else { 0.0 }).collect()
}

fn close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{got} for {expected}");
    }
}

#[test]
fn train_writes_outputs_statistics_and_gradients() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    folder.save("dy.npy", &[2, 3, 8], &x().iter().map(|x| x / 50.0 - 1.0).collect::<Vec<f32>>());
    folder.save("g.npy", &[3], &[1.5f64, -2.0, 0.5]);
    folder.save("b.npy", &[3], &[half::f16::from_f32(0.25); 3]);
    let output = folder.run(&[
        "--input",
        "x.npy",
        "--gradient",
        "dy.npy",
        "--gamma",
        "g.npy",
        "--beta",
        "b.npy",
        "--output-dir",
        "new/out",
    ]);
    assert!(output.stdout.is_empty(), "people read stderr");
    assert_eq!(
        folder.names("new/out"),
        ["beta", "dgamma", "dx", "mean", "running_mean", "running_var", "variance", "y"]
            .map(|name| if name == "beta" { "dbeta.npy".to_string() } else { format!("{name}.npy") })
    );
    // Against the readable twin.
    use batchnorm::reference::compact;
    let x: Vec<f64> = x().iter().map(|&x| f64::from(x)).collect();
    let dy: Vec<f64> = x.iter().map(|x| f64::from(*x as f32 / 50.0 - 1.0)).collect();
    let channel = |data: &[f64], c: usize| [&data[c * 8..c * 8 + 8], &data[24 + c * 8..24 + c * 8 + 8]].concat();
    let (y, dx) = (folder.numbers("new/out/y.npy"), folder.numbers("new/out/dx.npy"));
    for (c, gamma) in [1.5, -2.0, 0.5].into_iter().enumerate() {
        let forward = compact::forward(&channel(&x, c), gamma, 0.25, 1e-5);
        let backward = compact::backward(&channel(&x, c), gamma, 1e-5, &channel(&dy, c));
        close(&channel(&y, c), &forward.y);
        close(&channel(&dx, c), &backward.dx);
        let of = |name: &str| folder.numbers(&format!("new/out/{name}.npy"))[c];
        close(
            &[of("mean"), of("variance"), of("dgamma"), of("dbeta"), of("running_mean"), of("running_var")],
            &[
                forward.mean,
                forward.variance,
                backward.dgamma,
                backward.dbeta,
                0.1 * forward.mean,
                0.9 + 0.1 * forward.variance * 16.0 / 15.0,
            ],
        );
    }
    // y in the input's type, vectors in float64.
    assert!(matches!(npy::read(&folder.path("new/out/y.npy")).unwrap().numbers, Numbers::F32(_)));
    assert!(matches!(npy::read(&folder.path("new/out/mean.npy")).unwrap().numbers, Numbers::F64(_)));
}

#[test]
fn eval_uses_the_given_statistics_and_removes_stale_files() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    folder.save("m.npy", &[3], &[50.0f32, 51.0, 52.0]);
    folder.save("v.npy", &[3], &[4.0f32, 9.0, 16.0]);
    folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--output-dir", "out"]);
    assert!(folder.names("out").contains(&"running_mean.npy".to_string()));
    let eval = ["--input", "x.npy", "--mode", "eval", "--running-mean", "m.npy", "--running-var", "v.npy"];
    folder.run(&[&eval[..], &["--output-dir", "out"]].concat());
    assert_eq!(folder.names("out"), ["mean.npy", "variance.npy", "y.npy"]);
    close(&folder.numbers("out/mean.npy"), &[50.0, 51.0, 52.0]);
    close(&folder.numbers("out/y.npy")[8..9], &[(f64::from(x()[8]) - 51.0) / (9.0f64 + 1e-5).sqrt()]);
    folder.run(&[&eval[..], &["--gradient", "x.npy", "--output-dir", "out"]].concat());
    close(&folder.numbers("out/dx.npy")[8..9], &[f64::from(x()[8]) / (9.0f64 + 1e-5).sqrt()]);
}

#[test]
fn orders_axes_threads_and_tiers_give_the_same_bits() {
    let folder = Folder::new();
    let values: Vec<f64> = (0..2 * 5 * 9000).map(|i| f64::from((i * 31) % 1009) + 1e4).collect();
    folder.save("x.npy", &[2, 5, 9000], &values);
    let nhwc: Vec<f64> = (0..values.len()).map(|i| values[i / 45000 * 45000 + i % 5 * 9000 + i / 5 % 9000]).collect();
    folder.save("nhwc.npy", &[2, 9000, 5], &nhwc);
    // The same array in Fortran order: written by hand, as numpy would.
    let fortran: Vec<f64> = (0..values.len()).map(|i| values[i % 2 * 45000 + i / 2 % 5 * 9000 + i / 10]).collect();
    let mut bytes = npy::encode(&[2, 5, 9000], &fortran).expect("a right array");
    let at = bytes.windows(5).position(|part| part == b"False").expect("the flag");
    bytes[at..at + 5].copy_from_slice(b"True ");
    folder.bytes("fortran.npy", &bytes);
    folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--output-dir", "first"]);
    let bytes_of = |folder_name: &str| -> Vec<Vec<u8>> {
        let names = ["y", "dx", "mean", "variance", "dgamma", "dbeta", "running_mean", "running_var"];
        names.iter().map(|name| std::fs::read(folder.path(&format!("{folder_name}/{name}.npy"))).unwrap()).collect()
    };
    let first = bytes_of("first");
    folder.run(&["--input", "fortran.npy", "--gradient", "fortran.npy", "--output-dir", "out"]);
    assert!(bytes_of("out") == first, "Fortran order");
    for threads in ["1", "2", "3", "8"] {
        folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--threads", threads, "--output-dir", "out"]);
        assert!(bytes_of("out") == first, "{threads} threads");
    }
    for tier in batchnorm::Tier::available() {
        let tier = format!("{tier:?}").to_lowercase();
        folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--tier", &tier, "--output-dir", "out"]);
        assert!(bytes_of("out") == first, "{tier}");
    }
    for axis in ["2", "-1"] {
        let nhwc = ["--input", "nhwc.npy", "--gradient", "nhwc.npy", "--channel-axis", axis, "--output-dir", "out"];
        folder.run(&nhwc);
        assert!(bytes_of("out")[2..] == first[2..], "statistics and parameter gradients, channels last");
    }
}

#[test]
fn presets_and_what_wins_over_them() {
    let folder = Folder::new();
    folder.save("x.npy", &[4, 1], &[1.0f64, 2.0, 3.0, 6.0]); // mean 3, population variance 3.5
    for (flags, mean, variance) in [
        (&[][..], 0.3, 0.9 + 0.1 * 3.5 * 4.0 / 3.0),
        (&["--preset", "keras"], 0.03, 0.99 + 0.035),
        (&["--preset", "onnx"], 0.3, 0.9 + 0.35),
        (&["--preset", "onnx", "--running-estimator", "sample"], 0.3, 0.9 + 0.1 * 3.5 * 4.0 / 3.0),
        (&["--preset", "keras", "--update-weight", "new:0.5"], 1.5, 0.5 + 1.75),
        (&["--preset", "keras", "--update-weight", "old:0.99"], 0.03, 0.99 + 0.035),
        (&["--preset", "burn", "--update-weight", "old:0.8"], 0.6, 0.8 + 0.7),
        (&["--update-weight", "cumulative"], 3.0, 3.5 * 4.0 / 3.0),
    ] {
        folder.run(&[flags, &["--input", "x.npy", "--output-dir", "out"]].concat());
        close(&folder.numbers("out/running_mean.npy"), &[mean]);
        close(&folder.numbers("out/running_var.npy"), &[variance]);
    }
    folder.run(&["--input", "x.npy", "--epsilon", "12.5", "--output-dir", "out"]);
    close(&folder.numbers("out/y.npy"), &[-0.5, -0.25, 0.0, 0.75]);
}

#[test]
fn policies_by_flag() {
    let folder = Folder::new();
    folder.save("one.npy", &[1, 2], &[5.0f32, 7.0]);
    folder.save("empty.npy", &[0, 2], &[] as &[f32]);
    folder.save("nan.npy", &[3, 2], &[f32::NAN, 1.0, 2.0, 3.0, 4.0, 5.0]);
    folder.save("alike.npy", &[2, 1], &[3.0f64, 3.0]);
    folder.save("dy.npy", &[2, 1], &[1.0f64, 0.0]);
    let code = |arguments: &[&str]| folder.apply(&[arguments, &["--output-dir", "out"]].concat()).status.code();
    assert_eq!(code(&["--input", "one.npy"]), Some(4));
    folder.save("zeros.npy", &[2], &[0.0f32; 2]);
    folder.save("ones.npy", &[1, 2, 1, 1], &[1.0f32; 2]);
    let statistics = &["--running-mean", "zeros.npy", "--running-var", "ones.npy"][..];
    for (policy, statistics, y) in
        [("use-running", statistics, [5.0, 7.0]), ("population", &[], [0.0, 0.0]), ("skip-update", &[], [0.0, 0.0])]
    {
        let arguments = ["--input", "one.npy", "--on-single-value", policy, "--output-dir", "out"];
        folder.run(&[&arguments, statistics].concat());
        close(&folder.numbers("out/y.npy"), &y);
    }
    assert_eq!(code(&["--input", "empty.npy", "--on-empty", "error"]), Some(4));
    folder.run(&["--input", "empty.npy", "--gradient", "empty.npy", "--output-dir", "out"]);
    assert_eq!(npy::read(&folder.path("out/y.npy")).unwrap().shape, [0, 2]);
    assert_eq!(folder.numbers("out/dgamma.npy"), [0.0, 0.0]);
    assert_eq!(code(&["--input", "nan.npy", "--on-non-finite", "error"]), Some(4));
    let output = folder.run(&["--input", "nan.npy", "--json", "--output-dir", "out"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    assert_eq!(summary["non_finite_channels"], serde_json::json!([0]));
    assert_eq!((&summary["shape"], &summary["channels"]), (&serde_json::json!([3, 2]), &serde_json::json!(2)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in 1 of 2 channels ("));
    assert_eq!(folder.numbers("out/running_var.npy")[0], 1.0);
    folder.run(&["--input", "nan.npy", "--on-non-finite", "update", "--output-dir", "out"]);
    assert!(folder.numbers("out/running_var.npy")[0].is_nan());
    folder.run(&["--input", "alike.npy", "--gradient", "dy.npy", "--output-dir", "out"]);
    assert_eq!(folder.numbers("out/dx.npy"), [0.0, 0.0]);
    folder.run(&["--input", "alike.npy", "--gradient", "dy.npy", "--on-constant", "derivative", "--output-dir", "out"]);
    close(&folder.numbers("out/dx.npy"), &[0.5 / 1e-5f64.sqrt(), -0.5 / 1e-5f64.sqrt()]);
}

/// A header that numpy would write for something we refuse.
fn header(text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let padded = format!("{text:<117}\n");
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn bad_arguments_and_files_say_so_in_one_line_and_leave_nothing() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    folder.save("y64.npy", &[2, 3, 8], &[0.1f64; 48]);
    folder.save("other.npy", &[2, 3, 7], &[0.0f32; 42]);
    folder.save("two.npy", &[2], &[1.0f32; 2]);
    folder.save("square.npy", &[3, 3], &[1.0f32; 9]);
    folder.save("nan.npy", &[3], &[1.0f32, f32::NAN, 1.0]);
    folder.save("negative.npy", &[3], &[1.0f32, -1.0, 1.0]);
    folder.save("three.npy", &[3], &[1.0f32; 3]);
    folder.save("flat.npy", &[6], &[1.0f32; 6]);
    folder.save("scalar.npy", &[], &[1.0f32]);
    folder.save("none.npy", &[4, 0], &[] as &[f32]);
    let whole = npy::encode(&[2, 3], &[1.0f32; 6]).unwrap();
    folder.bytes("truncated.npy", &whole[..whole.len() - 1]);
    folder.bytes("trailing.npy", &[&whole[..], &[0]].concat());
    folder.bytes("empty.npy", &[]);
    folder.bytes("text.npy", b"1,2,3\n");
    folder.bytes(
        "huge.npy",
        &header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }", &[0; 24]),
    );
    folder.bytes(
        "overflow.npy",
        &header("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 2), }", &[]),
    );
    folder.bytes("object.npy", &header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", &[0; 24]));
    folder.bytes("integers.npy", &header("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }", &[1; 48]));
    folder
        .bytes("huge_integers.npy", &header("{'descr': '<u8', 'fortran_order': False, 'shape': (2, 3), }", &[255; 48]));
    folder.bytes("complex.npy", &header("{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3), }", &[0; 48]));
    folder.bytes("broken.npy", &header("{'descr': '<f4', 'shape': (2, 3)", &[0; 24]));
    folder.bytes("a-file", b"not a folder");
    let eval = ["--mode", "eval", "--running-mean", "three.npy", "--running-var"];

    let cases: Vec<(Vec<&str>, i32, Vec<&str>)> = vec![
        // Files.
        (vec!["--input", "missing.npy"], 3, vec!["missing.npy"]),
        (vec!["--input", "truncated.npy"], 3, vec!["truncated.npy"]),
        (vec!["--input", "trailing.npy"], 3, vec!["trailing.npy"]),
        (vec!["--input", "empty.npy"], 3, vec!["empty.npy"]),
        (vec!["--input", "text.npy"], 3, vec!["text.npy"]),
        (vec!["--input", "huge.npy"], 3, vec!["huge.npy"]),
        (vec!["--input", "overflow.npy"], 3, vec!["overflow.npy"]),
        (vec!["--input", "object.npy"], 3, vec!["object.npy", "|O", "float32"]),
        (
            vec!["--input", "integers.npy"],
            3,
            vec!["integers.npy", "float32", "got 72340172838076673 (int64)", "astype"],
        ),
        (vec!["--input", "huge_integers.npy"], 3, vec!["huge_integers.npy", "value 0", "9223372036854775807"]),
        (vec!["--input", "complex.npy"], 3, vec!["complex.npy", "<c8"]),
        (vec!["--input", "broken.npy"], 3, vec!["broken.npy"]),
        (vec!["--input", "."], 3, vec!["."]),
        (vec!["--input", "/dev/zero"], 3, vec!["/dev/zero"]),
        (vec!["--input", "flat.npy"], 3, vec!["flat.npy", "2 axes", "got 1"]),
        (vec!["--input", "scalar.npy"], 3, vec!["scalar.npy", "2 axes", "got 0"]),
        (vec!["--input", "none.npy"], 3, vec!["none.npy", "axis 1 holds channels and must have at least 1", "got 0"]),
        (vec!["--input", "x.npy", "--channel-axis", "3"], 3, vec!["x.npy", "-3..=2", "got 3"]),
        (vec!["--input", "x.npy", "--channel-axis", "-4"], 3, vec!["x.npy", "-3..=2", "got -4"]),
        (vec!["--input", "x.npy", "--gradient", "other.npy"], 3, vec!["other.npy", "[2, 3, 8]", "[2, 3, 7]"]),
        (vec!["--input", "x.npy", "--gradient", "y64.npy"], 3, vec!["y64.npy", "float32", "0.1", "float64"]),
        (vec!["--input", "x.npy", "--gradient", "missing.npy"], 3, vec!["missing.npy"]),
        (vec!["--input", "x.npy", "--gamma", "two.npy"], 3, vec!["two.npy", "[3]", "got [2]"]),
        (vec!["--input", "x.npy", "--gamma", "square.npy"], 3, vec!["square.npy", "[3]", "got [3, 3]"]),
        (vec!["--input", "x.npy", "--beta", "nan.npy"], 3, vec!["nan.npy", "beta[1]", "NaN"]),
        (vec!["--input", "x.npy", "--running-mean", "two.npy"], 3, vec!["two.npy", "[3]", "got [2]"]),
        (vec!["--input", "x.npy", "--running-var", "negative.npy"], 3, vec!["negative.npy", "[1]", "-1"]),
        ([&["--input", "x.npy"], &eval[..], &["negative.npy"]].concat(), 3, vec!["negative.npy", ">= 0"]),
        ([&["--input", "x.npy"], &eval[..], &["two.npy"]].concat(), 3, vec!["two.npy", "[3]", "got [2]"]),
        // Arguments.
        (vec!["--input", "x.npy", "--mode", "eval"], 2, vec!["--running-mean", "--running-var"]),
        (vec!["--input", "x.npy", "--epsilon", "nan"], 2, vec!["--epsilon", "NaN"]),
        (vec!["--input", "x.npy", "--epsilon", "-1e-5"], 2, vec!["--epsilon", "-1e-5"]),
        (vec!["--input", "x.npy", "--epsilon", "inf"], 2, vec!["--epsilon", "inf"]),
        (vec!["--input", "x.npy", "--update-weight", "1.5"], 2, vec!["--update-weight", "0..=1", "1.5"]),
        (vec!["--input", "x.npy", "--update-weight", "-0.1"], 2, vec!["--update-weight", "-0.1"]),
        (vec!["--input", "x.npy", "--update-weight", "old:nan"], 2, vec!["--update-weight", "NaN"]),
        (vec!["--input", "x.npy", "--update-weight", "young:0.1"], 2, vec!["--update-weight", "young:0.1"]),
        (vec!["--input", "x.npy", "--output-dir", "a-file"], 5, vec!["a-file"]),
        (vec!["--input", "x.npy", "--output-dir", "a-file/below"], 5, vec!["a-file"]),
        (vec!["--input", "x.npy", "--output-dir", "/proc/none"], 5, vec!["/proc/none"]),
    ];
    for (mut arguments, code, says) in cases {
        let own_folder = arguments.contains(&"--output-dir");
        if !own_folder {
            arguments.extend(["--output-dir", "results"]);
        }
        let output = folder.apply(&arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
        for part in says {
            assert!(message.contains(part), "{arguments:?}: `{message}` does not say `{part}`");
        }
        assert!(output.stdout.is_empty());
        assert!(!folder.path("results").exists(), "{arguments:?} left something");
    }

    // What clap refuses: exit code 2 and a message that names the flag.
    for (arguments, says) in [
        (vec!["--input", "x.npy", "--threads", "0"], "--threads"),
        (vec!["--input", "x.npy", "--threads", "100000000"], "--threads"),
        (vec!["--input", "x.npy", "--threads", "two"], "--threads"),
        (vec!["--input", "x.npy", "--epsilon", "small"], "--epsilon"),
        (vec!["--input", "x.npy", "--mode", "test"], "--mode"),
        (vec!["--input", "x.npy", "--tier", "mmx"], "--tier"),
        (vec!["--input", "x.npy", "--preset", "caffe"], "--preset"),
        (vec!["--input", "x.npy", "--on-empty", "ignore"], "--on-empty"),
        (vec!["--input", "x.npy", "--channel-axis", "last"], "--channel-axis"),
        (vec!["--momentum", "0.1", "--input", "x.npy"], "--momentum"),
        (vec![], "--input"),
    ] {
        let output = folder.apply(&[&arguments[..], &["--output-dir", "results"]].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(says), "{arguments:?}: {message}");
        assert!(!folder.path("results").exists());
    }
}

#[test]
fn a_failed_run_leaves_an_earlier_result_whole() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    folder.save("one.npy", &[1, 2], &[5.0f32, 7.0]);
    folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--output-dir", "out"]);
    let snapshot = |name: &str| std::fs::read(folder.path("out").join(name)).expect("a result");
    let before: Vec<Vec<u8>> = folder.names("out").iter().map(|name| snapshot(name)).collect();
    assert_eq!(folder.apply(&["--input", "one.npy", "--output-dir", "out"]).status.code(), Some(4));
    // A result that cannot be replaced: a folder in its place.
    std::fs::rename(folder.path("out/variance.npy"), folder.path("kept.npy")).unwrap();
    std::fs::create_dir(folder.path("out/variance.npy")).unwrap();
    let output = folder.apply(&["--input", "x.npy", "--epsilon", "1", "--output-dir", "out"]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir(folder.path("out/variance.npy")).unwrap();
    std::fs::rename(folder.path("kept.npy"), folder.path("out/variance.npy")).unwrap();
    assert_eq!(folder.names("out").iter().map(|name| snapshot(name)).collect::<Vec<_>>(), before);
}

#[test]
fn inputs_are_never_replaced_or_removed() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--output-dir", "out"]);
    let before = folder.names("out");
    for arguments in [
        vec!["--input", "out/dx.npy", "--output-dir", "out"],
        vec!["--input", "out/y.npy", "--output-dir", "./out/../out"],
        vec![
            "--input",
            "x.npy",
            "--mode",
            "eval",
            "--running-mean",
            "out/running_mean.npy",
            "--running-var",
            "out/running_var.npy",
            "--output-dir",
            "out",
        ],
    ] {
        let output = folder.apply(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("would be replaced or removed"));
        assert_eq!(folder.names("out"), before);
    }
    // Reading from there and writing elsewhere is the way; other names in the folder are nobody's business.
    folder.run(&["--input", "out/dx.npy", "--output-dir", "next"]);
    folder.save("out/input.npy", &[2, 3, 8], &x());
    folder.run(&["--input", "out/input.npy", "--output-dir", "out"]);
}

#[test]
fn odd_names_closed_pipes_and_huge_empty_arrays() {
    let folder = Folder::new();
    let output = folder.apply(&["--input", "no\nsuch.npy", "--output-dir", "out"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    folder.save("x.npy", &[2, 3, 8], &x());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let status = Command::new(env!("CARGO_BIN_EXE_batchnorm"))
        .args(["apply", "--input", "x.npy", "--output-dir", "out"])
        .current_dir(folder.0.path())
        .stderr(full)
        .status()
        .expect("the program runs");
    assert_eq!(status.code(), Some(0));
    for channels in [200_000_000, 1 << 59] {
        folder.save("nothing.npy", &[0, channels], &[] as &[f32]);
        let output = folder.apply(&["--input", "nothing.npy", "--output-dir", "none"]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), message.lines().count()), (Some(3), 1), "{message}");
        assert!(message.contains("1048576") && !folder.path("none").exists());
    }
}

#[test]
fn help_names_every_flag_and_exit_code() {
    let help = Command::new(env!("CARGO_BIN_EXE_batchnorm")).args(["apply", "--help"]).output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout);
    for part in [
        "--input",
        "--channel-axis",
        "--mode",
        "--gradient",
        "--gamma",
        "--beta",
        "--running-mean",
        "--running-var",
        "--preset",
        "--epsilon",
        "--update-weight",
        "--running-estimator",
        "--on-single-value",
        "--on-empty",
        "--on-non-finite",
        "--on-constant",
        "--threads",
        "--tier",
        "--output-dir",
        "--json",
        "of the new value",
        "Exit codes:",
        "  0 ",
        "  2 ",
        "  3 ",
        "  4 ",
        "  5 ",
        "  130 ",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf8_are_shown_as_they_can_be() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    let summary =
        support::json_with_odd_path(folder.0.path(), &["apply", "--input", "x.npy", "--json", "--output-dir"]);
    assert!(summary["output_dir"].as_str().unwrap().contains('\u{fffd}'));
}
