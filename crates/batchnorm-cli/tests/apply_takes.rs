//! What `batchnorm apply` makes of arrays as people have them, of flags that void each other, and of numbers that are no good:
//! one rule for all arrays, a refusal for each pair, a warning for each kind.

#[path = "support/arrays.rs"]
mod arrays;

use arrays::Folder;
use batchnorm_io::npy::{self, Numbers};
use batchnorm_io::npz::{Packing, Writer};
use half::f16;

fn x() -> Vec<f32> {
    (0..48).map(|i| ((i * 7) % 13) as f32 - 3.0).collect()
}

/// A .npy file as NumPy writes it for a type that we only read.
fn raw(folder: &Folder, name: &str, descr: &str, shape: &str, data: &[u8]) {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = format!("{text:<117}\n");
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    bytes.extend(data);
    folder.bytes(name, &bytes);
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn vectors_of_channels_have_any_shape_that_is_one() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 3, 8], &x());
    let gamma = [1.5f64, -2.0, 0.5];
    let shapes = [&[3][..], &[1, 3], &[3, 1, 1], &[1, 3, 1, 1]];
    let mut seen = Vec::new();
    for shape in shapes {
        folder.save("g.npy", shape, &gamma);
        folder.save("h.npy", shape, &gamma.map(f16::from_f64));
        for file in ["g.npy", "h.npy"] {
            let all = ["--gamma", file, "--beta", file, "--running-mean", file, "--running-var", "v.npy"];
            folder.save("v.npy", shape, &[1.0f32, 4.0, 9.0]);
            folder.run(&[&["--input", "x.npy", "--mode", "eval", "--output-dir", "out"], &all[..]].concat());
            seen.push(std::fs::read(folder.path("out/y.npy")).expect("y"));
        }
    }
    assert!(seen.iter().all(|y| *y == seen[0]));
    for wrong in [&[3, 3][..], &[4], &[]] {
        folder.save("g.npy", wrong, &vec![1.0f32; wrong.iter().product()]);
        let output = folder.apply(&["--input", "x.npy", "--gamma", "g.npy", "--output-dir", "bad"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("expected shape [3], one value for each channel"), "{wrong:?}");
    }
}

#[test]
fn several_channel_axes_are_as_the_array_reshaped() {
    let folder = Folder::new();
    // Samples, 2 x 4 channels on axes 1 and 3, 3 places; and as (samples, places, channels).
    let mut values = x();
    values[5] = f32::NAN;
    let moved: Vec<f32> = (0..48)
        .map(|at| {
            let [sample, place, outer, inner] = [at / 24, at / 8 % 3, at / 4 % 2, at % 4];
            values[((sample * 2 + outer) * 3 + place) * 4 + inner]
        })
        .collect();
    let gamma: Vec<f64> = (0..8).map(|channel| 0.5 - f64::from(channel)).collect();
    folder.save("x.npy", &[2, 2, 3, 4], &values);
    folder.save("moved.npy", &[2, 3, 8], &moved);
    folder.save("flat.npy", &[8], &gamma);
    folder.save("axes.npy", &[2, 4], &gamma);
    folder.save("keras.npy", &[1, 2, 1, 4], &gamma);
    folder.save("w.npy", &[2, 3], &[1.0f32, 1.0, 0.0, 1.0, 1.0, 1.0]);
    for more in [&[][..], &["--weights", "w.npy"]] {
        let expected =
            ["--input", "moved.npy", "--gradient", "moved.npy", "--channel-axis", "-1", "--gamma", "flat.npy"];
        let plain = folder.run(&[&expected, more, &["--output-dir", "plain"]].concat());
        let warning = |output: &std::process::Output| {
            let all = stderr(output);
            let own = all.lines().find(|line| line.contains("warning")).map(str::to_owned);
            own.unwrap_or_default().replace("moved.npy", "x.npy")
        };
        assert!(!warning(&plain).is_empty(), "{}", stderr(&plain));
        for gamma in ["flat.npy", "axes.npy", "keras.npy"] {
            for axes in ["1,3", "-3,-1"] {
                let own = ["--input", "x.npy", "--gradient", "x.npy", "--channel-axis", axes, "--gamma", gamma];
                let output = folder.run(&[&own, more, &["--output-dir", "out"]].concat());
                assert_eq!(warning(&output), warning(&plain));
                for name in folder.names("plain") {
                    let [own, plain] = ["out", "plain"].map(|of| folder.numbers(&format!("{of}/{name}")));
                    let in_order: Vec<f64> = match own.len() {
                        48 => {
                            (0..48).map(|at| own[((at / 24 * 2 + at / 4 % 2) * 3 + at / 8 % 3) * 4 + at % 4]).collect()
                        }
                        _ => own,
                    };
                    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
                    assert_eq!(bits(&in_order), bits(&plain), "{name} {axes} {gamma} {more:?}");
                }
            }
        }
    }
    folder.save("g.npy", &[4, 2], &gamma);
    let output =
        folder.apply(&["--input", "x.npy", "--channel-axis", "1,3", "--gamma", "g.npy", "--output-dir", "bad"]);
    assert!(
        stderr(&output).contains("g.npy: expected shape [2, 4], one value for each channel"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn masks_are_of_any_type_and_with_or_without_the_channel_axis() {
    let folder = Folder::new();
    let mut values = x();
    // Of two samples of 3 channels and 8 places, the first half of the places counts.
    for (at, value) in values.iter_mut().enumerate() {
        if at % 8 >= 4 {
            *value = f32::NAN;
        }
    }
    folder.save("x.npy", &[2, 3, 8], &values);
    let counts: Vec<u8> = (0..16).map(|at| u8::from(at % 8 < 4)).collect();
    let wide = |bytes: usize| -> Vec<u8> {
        counts.iter().flat_map(|&count| std::iter::once(count).chain(std::iter::repeat_n(0, bytes - 1))).collect()
    };
    raw(&folder, "bool.npy", "|b1", "(2, 1, 8)", &counts);
    raw(&folder, "u1.npy", "|u1", "(2, 8)", &counts);
    raw(&folder, "i1.npy", "|i1", "(2, 8)", &counts);
    raw(&folder, "i2.npy", "<i2", "(2, 1, 8)", &wide(2));
    raw(&folder, "u4.npy", "<u4", "(2, 8)", &wide(4));
    raw(&folder, "i8.npy", "<i8", "(2, 1, 8)", &wide(8));
    let floats: Vec<f64> = counts.iter().map(|&count| f64::from(count)).collect();
    folder.save("f8.npy", &[2, 8], &floats);
    folder.save("f2.npy", &[2, 1, 8], &floats.iter().map(|&count| f16::from_f64(count)).collect::<Vec<_>>());
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for name in ["bool", "u1", "i1", "i2", "u4", "i8", "f8", "f2"] {
        let file = format!("{name}.npy");
        let output = folder.run(&["--input", "x.npy", "--weights", &file, "--output-dir", "out"]);
        assert!(!stderr(&output).contains("warning"), "{name}: {}", stderr(&output));
        seen.push(std::fs::read(folder.path("out/y.npy")).expect("y"));
        assert_eq!(seen.last(), seen.first(), "{name}");
    }
    folder.save("w.npy", &[2, 3], &[1.0f32; 6]);
    let output = folder.apply(&["--input", "x.npy", "--weights", "w.npy", "--output-dir", "bad"]);
    let message = stderr(&output);
    assert!(message.contains("w.npy: expected the input's shape [2, 3, 8]"), "{message}");
    assert!(message.contains("or [2, 8] without the channel axis, got [2, 3]"), "{message}");
    folder.save("w.npy", &[2, 8], &[-1.0f32; 16]);
    let output = folder.apply(&["--input", "x.npy", "--weights", "w.npy", "--output-dir", "bad"]);
    assert!(stderr(&output).contains("w.npy: weights[0]"), "{}", stderr(&output));
}

#[test]
fn arrays_come_from_npz_and_tables_and_as_halves_and_whole_numbers() {
    let folder = Folder::new();
    let values: Vec<f32> = x()[..24].to_vec();
    folder.save("x.npy", &[8, 3], &values);
    folder.run(&["--input", "x.npy", "--output-dir", "plain"]);
    let plain = folder.numbers("plain/y.npy");

    let mut writer = Writer::new(Vec::new(), Packing::Deflated);
    writer.array("x", &[8, 3], &values).expect("an array");
    writer.array("g", &[1, 3], &[1.0f32; 3]).expect("an array");
    folder.bytes("all.npz", &writer.finish().expect("an archive"));
    folder.run(&["--input", "all.npz:x", "--gamma", "all.npz:g", "--output-dir", "out"]);
    assert_eq!(folder.numbers("out/y.npy"), plain);
    for (name, says) in [("all.npz", "holds x, g; give all.npz:NAME"), ("all.npz:z", "z")] {
        let output = folder.apply(&["--input", name, "--output-dir", "bad"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("all.npz") && stderr(&output).contains(says), "{}", stderr(&output));
    }

    let rows: Vec<String> = values
        .chunks(3)
        .map(|row| row.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(","))
        .collect();
    folder.bytes("x.csv", format!("0,1,2\n{}\n", rows.join("\n")).as_bytes());
    folder.run(&["--input", "x.csv", "--output-dir", "out"]);
    let table = npy::read(&folder.path("out/y.npy")).expect("y");
    assert_eq!(table.shape, [8, 3]);
    assert!(matches!(table.numbers, Numbers::F64(_)));
    assert!(folder.numbers("out/y.npy").iter().zip(&plain).all(|(y, plain)| (y - plain).abs() < 1e-6));
    let rows: Vec<String> = rows.iter().enumerate().map(|(number, row)| format!("{number},{row}")).collect();
    folder.bytes("frame.csv", format!(",a,b,c\n{}\n", rows.join("\n")).as_bytes());
    let output = folder.run(&["--input", "frame.csv", "--json", "--output-dir", "out"]);
    assert_eq!(npy::read(&folder.path("out/y.npy")).expect("y").shape, [8, 3]);
    assert!(stderr(&output).contains("frame.csv: the first column, with an empty header, was left out"));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(summary["notes"][0].as_str().expect("a note").contains("left out"));
    // Whether the first line of one is names, another one tells.
    let whole: String = (0..8).map(|row| format!("{},1,2\n", row % 2)).collect();
    folder.bytes("dy.csv", format!("0,1,2\n{whole}").as_bytes());
    let alone = folder.apply(&["--input", "dy.csv", "--output-dir", "bad"]);
    assert!(stderr(&alone).contains("`0,1,2` may name the columns") && stderr(&alone).contains("--header"));
    folder.run(&["--input", "x.csv", "--gradient", "dy.csv", "--output-dir", "out"]);
    folder.run(&["--input", "dy.csv", "--header", "no", "--output-dir", "out"]);
    assert_eq!(npy::read(&folder.path("out/y.npy")).expect("y").shape, [9, 3]);

    let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
    folder.save("half.npy", &[8, 3], &halves);
    folder.run(&["--input", "half.npy", "--gradient", "x.npy", "--output-dir", "out"]);
    for name in ["out/y.npy", "out/dx.npy"] {
        assert!(matches!(npy::read(&folder.path(name)).expect("an array").numbers, Numbers::F16(_)));
    }
    assert!(folder.numbers("out/y.npy").iter().zip(&plain).all(|(y, plain)| (y - plain).abs() < 1e-3));

    let bytes: Vec<u8> = values.iter().map(|&value| value as i8 as u8).collect();
    raw(&folder, "whole.npy", "|i1", "(8, 3)", &bytes);
    let output = folder.run(&["--input", "whole.npy", "--output-dir", "out"]);
    assert!(stderr(&output).contains("int8 is taken as float32"), "{}", stderr(&output));
    assert_eq!(folder.numbers("out/y.npy"), plain);
    // What float32 does not hold.
    let large: Vec<u8> = (0..6i64).flat_map(|value| ((1 << 24) + value).to_le_bytes()).collect();
    raw(&folder, "large.npy", "<i8", "(2, 3)", &large);
    let output = folder.apply(&["--input", "large.npy", "--output-dir", "bad"]);
    assert!(stderr(&output).contains("float32 holds, got 16777217 (int64)"), "{}", stderr(&output));
    folder.save("dy.npy", &[8, 3], &[0.1f64; 24]);
    let output = folder.apply(&["--input", "x.npy", "--gradient", "dy.npy", "--output-dir", "bad"]);
    assert!(stderr(&output).contains("dy.npy: expected values that float32 holds"), "{}", stderr(&output));
    folder.save("dy.npy", &[8, 3], &[0.5f64; 24]);
    folder.run(&["--input", "x.npy", "--gradient", "dy.npy", "--output-dir", "out"]);
}

/// Flags, what they void or turn round, and words of the refusal.
#[test]
fn flags_that_do_not_go_together_are_refused() {
    let folder = Folder::new();
    folder.save("x.npy", &[4, 3], &x()[..12]);
    folder.save("m.npy", &[3], &[0.0f32; 3]);
    folder.save("v.npy", &[3], &[1.0f32; 3]);
    let statistics = &["--running-mean", "m.npy", "--running-var", "v.npy"][..];
    let eval = &[&["--mode", "eval"], statistics].concat()[..];
    let with = |flags: &[&'static str], more: &[&'static str]| [flags, more].concat();
    for (flags, says) in [
        (with(eval, &["--ghost", "2"]), "--ghost: expected --mode train"),
        (with(eval, &["--renorm", "3,5"]), "--renorm: expected --mode train"),
        (with(statistics, &["--preset", "haiku"]), "--preset haiku: expected --batches N"),
        (with(eval, &["--update-weight", "0.1"]), "--update-weight: expected --mode train"),
        (with(eval, &["--batches", "3"]), "--batches: expected --mode train"),
        (with(eval, &["--running-estimator", "sample"]), "--running-estimator: expected --mode train"),
        (with(eval, &["--on-single-value", "error"]), "--on-single-value: expected --mode train"),
        (with(eval, &["--on-empty", "pass"]), "--on-empty: expected --mode train"),
        (with(eval, &["--on-non-finite", "skip"]), "--on-non-finite: expected --mode train"),
        (with(eval, &["--on-constant", "zero", "--gradient", "x.npy"]), "--on-constant: expected --mode train"),
        (vec!["--mode", "eval"], "--mode eval: expected --running-mean and --running-var"),
        (vec!["--on-constant", "zero"], "--on-constant: expected --gradient"),
        (vec!["--on-single-value", "use-running"], "use-running: expected --running-mean and --running-var"),
        (vec!["--batches", "3"], "--batches: expected with an average that counts them"),
        (with(statistics, &["--batches", "3"]), "--batches: expected with an average that counts them"),
        (
            vec!["--batches", "3", "--update-weight", "cumulative"],
            "--batches: expected with an average that counts them",
        ),
        (with(statistics, &["--update-weight", "cumulative"]), "expected --batches N"),
        (
            vec!["--preset", "keras", "--update-weight", "0.99"],
            "expected old:0.99 (as the momentum of Keras is meant) or new:0.99",
        ),
        (
            vec!["--preset", "flax", "--update-weight", "0.9"],
            "expected old:0.9 (as the momentum of Flax is meant) or new:0.9",
        ),
        (
            vec!["--preset", "onnx", "--update-weight", "0.9"],
            "expected old:0.9 (as the momentum of ONNX is meant) or new:0.9",
        ),
    ] {
        let output = folder.apply(&[&flags[..], &["--input", "x.npy", "--output-dir", "bad"]].concat());
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {message}");
        assert!(message.contains(says), "{flags:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{flags:?}: {message}");
        assert!(!folder.path("bad").exists());
    }
    // And those that do, with what the summary says.
    for (flags, says) in [
        (vec![], "0.9 of the old value and 0.1 of the new one"),
        (vec!["--update-weight", "0.25"], "0.75 of the old value and 0.25 of the new one"),
        (vec!["--preset", "burn", "--update-weight", "0.25"], "0.75 of the old value and 0.25 of the new one"),
        (vec!["--preset", "keras", "--update-weight", "old:0.75"], "0.75 of the old value and 0.25 of the new one"),
        (vec!["--preset", "keras", "--update-weight", "new:0.25"], "0.75 of the old value and 0.25 of the new one"),
        (vec!["--update-weight", "cumulative"], "the average of all batches"),
        (with(statistics, &["--update-weight", "cumulative", "--batches", "3"]), "the average of all batches"),
    ] {
        let output = folder.run(&[&flags[..], &["--input", "x.npy", "--output-dir", "out"]].concat());
        assert!(stderr(&output).contains(says), "{flags:?}: {}", stderr(&output));
    }
    // Three batches of mean 0, then this one.
    let mean: f64 = x()[..12].iter().step_by(3).map(|&x| f64::from(x)).sum::<f64>() / 4.0;
    folder.run(&with(
        statistics,
        &["--update-weight", "cumulative", "--batches", "3", "--input", "x.npy", "--output-dir", "out"],
    ));
    assert!((folder.numbers("out/running_mean.npy")[0] - mean / 4.0).abs() < 1e-12);
}

/// What is said of a last group of one sample is said of the array that was given.
#[test]
fn ghosts_that_leave_one_row_say_how_many_of_how_many() {
    let folder = Folder::new();
    folder.save("x.npy", &[101, 3], &(0..303).map(|at| (at % 17) as f32).collect::<Vec<f32>>());
    let output = folder.apply(&["--input", "x.npy", "--ghost", "10", "--output-dir", "out"]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("101 samples in ghosts of 10 leave 1; --ghost 11 leaves no such group"), "{message}");
    folder.run(&["--input", "x.npy", "--ghost", "11", "--output-dir", "out"]);
    folder.run(&["--input", "x.npy", "--ghost", "10", "--on-single-value", "population", "--output-dir", "out"]);
}

/// One warning each, with channel and count, on stderr and in the summary.
#[test]
fn numbers_that_are_no_good_are_said() {
    let folder = Folder::new();
    let fine: Vec<f32> = x()[..24].to_vec();
    let spoiled = |places: &[usize], value: f32| {
        let mut values = fine.clone();
        places.iter().for_each(|&place| values[place] = value);
        values
    };
    folder.save("x.npy", &[8, 3], &fine);
    folder.save("nan.npy", &[8, 3], &spoiled(&[1, 4, 5], f32::NAN));
    folder.save("inf.npy", &[8, 3], &spoiled(&[2], f32::INFINITY));
    folder.save("small.npy", &[8, 3], &fine.iter().map(|x| x * 1e-4).collect::<Vec<f32>>());
    folder.save("m.npy", &[3], &[0.0f32; 3]);
    folder.save("v.npy", &[3], &[1.0f32, 0.0, 1e-7]);
    folder.save("one.npy", &[3], &[1.0f32; 3]);
    folder.save("huge.npy", &[3], &[1.0f32, 3e38, 1.0]);
    folder.save("single.npy", &[1, 3], &[1.0f32, 2.0, 3.0]);
    let eval = |variance: &'static str| ["--mode", "eval", "--running-mean", "m.npy", "--running-var", variance];
    let cases: Vec<(Vec<&str>, &str, Vec<usize>, &str)> = vec![
        (
            vec!["--input", "nan.npy"],
            "non_finite_statistics",
            vec![1, 2],
            "nan.npy: 3 values are NaN or infinity, in 2 of 3 channels (1, 2); all of y is NaN there",
        ),
        (
            [&["--input", "nan.npy"][..], &eval("one.npy")].concat(),
            "non_finite_input",
            vec![1, 2],
            "nan.npy: 3 values are NaN or infinity, in 2 of 3 channels (1, 2)",
        ),
        (
            vec!["--input", "x.npy", "--gradient", "inf.npy"],
            "non_finite_gradient",
            vec![2],
            "inf.npy: 1 value is NaN or infinity, in 1 of 3 channels (2)",
        ),
        (
            vec!["--input", "x.npy", "--gamma", "huge.npy"],
            "output_overflows",
            vec![1],
            "beyond float32 though the input is finite, in 1 of 3 channels (1)",
        ),
        (
            [&["--input", "x.npy"][..], &eval("v.npy")].concat(),
            "zero_variance",
            vec![1],
            "v.npy: the variance is 0 in 1 of 3 channels (1)",
        ),
        (
            vec![
                "--input",
                "single.npy",
                "--on-single-value",
                "use-running",
                "--running-mean",
                "m.npy",
                "--running-var",
                "v.npy",
            ],
            "zero_variance",
            vec![1],
            "v.npy: the variance is 0 in 1 of 3 channels (1)",
        ),
        (
            [&["--input", "x.npy"][..], &eval("v.npy")].concat(),
            "epsilon_above_variance",
            vec![2],
            "the deviation of y falls to 9.95e-2 of |gamma|",
        ),
        (
            vec!["--input", "small.npy"],
            "epsilon_above_variance",
            vec![0, 1, 2],
            "eps 0.00001 is above the variance in 3 of 3",
        ),
    ];
    for (arguments, kind, channels, says) in cases {
        let output = folder.run(&[&arguments[..], &["--json", "--output-dir", "out"]].concat());
        let message = stderr(&output);
        let found: Vec<&str> =
            message.lines().filter(|line| line.contains("warning: ") && line.contains(says)).collect();
        assert_eq!(found.len(), 1, "{arguments:?}: {message}");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let all = summary["warnings"].as_array().expect("warnings");
        let own: Vec<_> = all.iter().filter(|warning| warning["kind"] == kind).collect();
        assert_eq!(own.len(), 1, "{kind}: {all:?}");
        assert_eq!(own[0]["channels"], serde_json::json!(channels), "{kind}");
    }
    folder.save("wide.npy", &[4, 2], &[1.0f64, 2.0, 3.0, 5.0, 4.0, 4.0, 0.0, 1.0]);
    folder.save("large.npy", &[4, 2], &[1.0f64, 1.5e308, 2.0, 1.5e308, 0.0, 1.0, 1.0, 1.0]);
    let output = folder.run(&["--input", "wide.npy", "--gradient", "large.npy", "--output-dir", "out"]);
    let says = "dbeta: a sum is beyond float64 though x and dy are finite, in 1 of 2 channels (1)";
    assert!(stderr(&output).contains(says), "{}", stderr(&output));
    let output = folder.run(&["--input", "x.npy", "--gradient", "x.npy", "--output-dir", "out"]);
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
}

/// The sums of finite values may leave float64; their mean does not.
#[test]
fn a_mean_of_large_values_is_written_as_it_is() {
    let folder = Folder::new();
    let first = [1.7e308, -1.6e308, 1.5e308, 1.0e308];
    let channels: Vec<f64> = first.iter().flat_map(|&large| [large, large / 1e300, f64::NAN]).collect();
    folder.save("x.npy", &[4, 3], &channels);
    folder.save("w.npy", &[4, 1], &[1.0, 0.5, 2.0, 0.0]);
    let expected = [(1.7 - 1.6 + 1.5 + 1.0) / 4.0 * 1e308, (1.7 - 0.8 + 3.0) / 3.5 * 1e308];
    for (more, expected) in [&[][..], &["--weights", "w.npy"]].into_iter().zip(expected) {
        let output = folder.run(&[&["--input", "x.npy", "--output-dir", "out"], more].concat());
        let mean = folder.numbers("out/mean.npy");
        assert!((mean[0] / expected - 1.0).abs() < 1e-15, "{mean:?}");
        assert!((mean[1] / (expected / 1e300) - 1.0).abs() < 1e-15 && mean[2].is_nan(), "{mean:?}");
        let message = stderr(&output);
        assert!(message.contains("x.npy: the variance is beyond float64 in 1 of 3 channels (0)"), "{message}");
        assert!(message.contains("values are NaN or infinity, in 1 of 3 channels (2)"), "{message}");
    }
}
