//! `inspect --convert`: statistics by another convention, and everything else as it was.

use std::fs;

use batchnorm::{Convention, Conversion};
use safetensors::SafeTensors;

use crate::support::{done, folder, refused, run, text};
use crate::weights;

/// PyTorch's names: two norms, one without affine parameters, and other tensors.
fn file() -> Vec<u8> {
    let ramp = |from: f32| (0..3).map(|at| from + at as f32 / 8.0).collect::<Vec<f32>>();
    weights(
        &[
            ("conv.weight", ramp(0.1)),
            ("bn1.weight", ramp(1.0)),
            ("bn1.bias", ramp(-1.0)),
            ("bn1.running_mean", ramp(0.5)),
            ("bn1.running_var", ramp(2.0)),
            ("bn2.running_mean", ramp(-0.5)),
            ("bn2.running_var", ramp(1.5)),
        ],
        &[("bn1.num_batches_tracked", 2000)],
    )
}

#[test]
fn statistics_are_converted_and_the_rest_stays() {
    let folder = folder();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    fs::write(&input, file()).unwrap();
    let ran = run(
        folder.path(),
        &["inspect", "in.safetensors", "--convert", "pytorch:keras", "--output", "out.safetensors", "--values", "64"],
    );
    let said = done(&ran);
    assert!(said.starts_with("2 batch norms from PyTorch to Keras.\n"), "{said}");
    for part in [
        "Names: PyTorch's weight is gamma, bias is beta",
        "Variance: PyTorch stores the sample, Keras the population variance",
        "(64 - 1) / 64",
        "(1 of 2)",
        "num_batches_tracked, 2000, was dropped",
    ] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
    assert_eq!(text(&ran.stderr), "wrote out.safetensors\n");
    let (before, after) = (fs::read(&input).unwrap(), fs::read(&output).unwrap());
    let (before, after) = (SafeTensors::deserialize(&before).unwrap(), SafeTensors::deserialize(&after).unwrap());
    let mut names = after.names();
    names.sort_unstable();
    let expected = [
        "bn1.beta",
        "bn1.gamma",
        "bn1.moving_mean",
        "bn1.moving_variance",
        "bn2.moving_mean",
        "bn2.moving_variance",
        "conv.weight",
    ];
    assert_eq!(names, expected);
    for (old, new) in [
        ("conv.weight", "conv.weight"),
        ("bn1.weight", "bn1.gamma"),
        ("bn1.bias", "bn1.beta"),
        ("bn1.running_mean", "bn1.moving_mean"),
    ] {
        assert_eq!(before.tensor(old).unwrap(), after.tensor(new).unwrap());
    }
    let floats = |file: &SafeTensors, name: &str| -> Vec<f32> {
        file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let old: Vec<f64> = floats(&before, "bn1.running_var").into_iter().map(f64::from).collect();
    let conversion = Conversion::new(Convention::PyTorch, Convention::Keras).values(64);
    let converted = conversion.statistics(&[0.5, 0.625, 0.75], &old, Some(2000)).unwrap();
    let expected: Vec<f32> = converted.variance.iter().map(|variance| *variance as f32).collect();
    assert_eq!(floats(&after, "bn1.moving_variance"), expected);
}

#[test]
fn a_convention_with_a_count_gets_one_and_the_input_may_be_the_output() {
    let folder = folder();
    let names = ["gamma", "beta", "moving_mean", "moving_variance"].map(|last| format!("bn.{last}"));
    let tensors: Vec<(&str, Vec<f32>)> = names.iter().map(|name| (name.as_str(), vec![2.0f32; 2])).collect();
    fs::write(folder.path().join("m.safetensors"), weights(&tensors, &[])).unwrap();
    let convert = |conventions: &str, more: &[&str]| {
        let arguments = ["inspect", "m.safetensors", "--convert", conventions, "--output", "m.safetensors"];
        run(folder.path(), &arguments.iter().chain(more).copied().collect::<Vec<&str>>())
    };
    done(&convert("keras:pytorch", &["--updates", "50", "--epsilon", "0.001", "--momentum", "0.9"]));
    let bytes = fs::read(folder.path().join("m.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("bn.num_batches_tracked").unwrap().data(), 50i64.to_le_bytes());
    assert_eq!(read.tensor("bn.running_var").unwrap().data(), [2.0f32; 2].map(f32::to_le_bytes).concat());
    let unchanged = fs::read(folder.path().join("m.safetensors")).unwrap();
    refused(&convert("keras:pytorch", &[]), 3, &["bn", "by the names of Keras", "bn.weight"]);
    assert_eq!(fs::read(folder.path().join("m.safetensors")).unwrap(), unchanged);
}

#[test]
fn what_cannot_be_converted_is_told_and_nothing_is_written() {
    let folder = folder();
    fs::write(folder.path().join("none.safetensors"), weights(&[("a", vec![1.0])], &[])).unwrap();
    fs::write(folder.path().join("m.safetensors"), file()).unwrap();
    fs::write(folder.path().join("m.onnx"), crate::healthy().to_bytes()).unwrap();
    let taken =
        weights(&[("bn.running_mean", vec![1.0]), ("bn.running_var", vec![1.0]), ("bn.moving_mean", vec![1.0])], &[]);
    fs::write(folder.path().join("taken.safetensors"), taken).unwrap();
    let convert = |file: &str, conventions: &str, more: &[&str]| {
        let arguments = ["inspect", file, "--convert", conventions, "--output", "out"];
        run(folder.path(), &arguments.iter().chain(more).copied().collect::<Vec<&str>>())
    };
    refused(&convert("none.safetensors", "pytorch:keras", &[]), 3, &["nothing to convert"]);
    refused(&convert("m.onnx", "pytorch:keras", &[]), 3, &["expected weights as safetensors, got ONNX"]);
    refused(&convert("taken.safetensors", "pytorch:keras", &[]), 3, &["bn.moving_mean", "no other tensor"]);
    refused(&convert("m.safetensors", "pytorch:keras", &["--momentum", "2"]), 2, &["--momentum"]);
    refused(&convert("m.safetensors", "pytorch:keras", &["--epsilon=-1"]), 2, &["--epsilon"]);
    refused(&convert("m.safetensors", "pytorch:keras", &["--values", "1"]), 3, &["bn1"]);
    for (conventions, part) in
        [("pytorch", "FROM:TO"), ("torch:keras", "expected one of pytorch, keras"), ("keras:keras", "two different")]
    {
        let output = convert("m.safetensors", conventions, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
    assert!(!folder.path().join("out").exists());
}
