//! Model files: the same bytes for the same network, everything read back to the bit, and every defect named.

#![allow(missing_docs)]

use batchnorm_lab::digits::{self, Digits};
use batchnorm_lab::model::{Description, KEY, Model, ModelError};
use batchnorm_lab::network::{Architecture, Recipe, Start};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::training::{Batches, Score, Training};
use serde_json::{Value, json};

fn plan(batch_norm: bool, steps: usize) -> Plan {
    let architecture = Architecture { hidden: vec![7, 5], ..Architecture::default() };
    Plan { steps, network: architecture.recipe(batch_norm), ..Plan::of(batch_norm) }
}

/// The file after the steps from the network in `from` up to `to`, of a plan of `to` steps.
fn trained(plan: &Plan, from: Option<Vec<u8>>, to: usize) -> Vec<u8> {
    let digits = Digits::embedded();
    let data = digits::data().summary;
    let (mut training, done) = match from {
        None => (plan.training(plan.start(&data), 0), 0),
        Some(bytes) => {
            let (training, description) = Model::from_bytes(bytes).unwrap().resumed().unwrap();
            (training, description.steps_done)
        }
    };
    let mut batches = Batches::new(digits.train.len(), plan.batch_size, plan.seed);
    batches.skip(done);
    for step in done..to {
        assert!(training.step(&digits.train.select(batches.draw()), plan.rate(step)).is_finite());
    }
    let description = Description::new(data, plan.clone(), to, training.evaluate(&digits.test).score);
    Model::new(description, &training).to_bytes().unwrap()
}

#[test]
fn a_training_that_was_stopped_ends_in_the_same_bytes() {
    for batch_norm in [true, false] {
        let plan = plan(batch_norm, 60);
        let whole = trained(&plan, None, 60);
        // 23 batches are one pass over the images: stops within a pass and at its end.
        for stop in [0, 1, 23, 24, 59] {
            let stopped = trained(&plan, None, stop);
            assert_eq!(trained(&plan, Some(stopped), 60), whole, "batch norm: {batch_norm}, stopped at {stop}");
        }
        let again = Model::from_bytes(whole.clone()).unwrap();
        assert_eq!(again.to_bytes().unwrap(), whole);
        let (digits, scores) = (Digits::embedded(), again.scores(&Digits::embedded().test.values));
        let (training, description) = again.resumed().unwrap();
        let evaluated = training.evaluate(&digits.test);
        assert_eq!(scores, evaluated.scores);
        assert_eq!(evaluated.score.accuracy, description.test.unwrap().accuracy);
    }
}

/// A file's header as JSON, and the bytes behind it.
fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn together(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// The file with its description changed.
fn described(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (mut header, data) = split(bytes);
    let mut description: Value = serde_json::from_str(header["__metadata__"][KEY].as_str().unwrap()).unwrap();
    change(&mut description);
    header["__metadata__"][KEY] = description.to_string().into();
    together(&header, &data)
}

/// The file with some tensors' values replaced by one value.
fn filled(bytes: &[u8], tensor: &str, value: f32) -> Vec<u8> {
    let (header, mut data) = split(bytes);
    let offsets = &header[tensor]["data_offsets"];
    let at = offsets[0].as_u64().unwrap() as usize;
    data[at..at + 4].copy_from_slice(&value.to_le_bytes());
    together(&header, &data)
}

#[test]
fn every_defect_is_one_line_and_never_a_panic() {
    let whole = trained(&plan(true, 5), None, 5);
    let refused = |bytes: Vec<u8>, parts: &[&str]| {
        let message = Model::from_bytes(bytes).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.len() < 400, "{message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    };
    for length in (0..whole.len()).step_by(7) {
        refused(whole[..length].to_vec(), &["cut off, or no safetensors file"]);
    }
    refused(b"GIF89a, and nothing of it a network".to_vec(), &["safetensors"]);
    refused(vec![0xff; 1000], &["safetensors"]);
    refused([whole.clone(), vec![0]].concat(), &["safetensors"]);

    let (mut header, data) = split(&whole);
    header.as_object_mut().unwrap().remove("__metadata__");
    refused(together(&header, &data), &["without its description"]);
    refused(together(&json!({}), &[]), &["without its description"]);
    refused(described(&whole, |it| *it = json!([])), &["format", "null"]);
    refused(described(&whole, |it| it["format"] = "batchnorm-model 99".into()), &["format", "batchnorm-model 99"]);
    refused(described(&whole, |it| it["format"] = "x\n".repeat(9999).into()), &["format"]);
    refused(described(&whole, |it| it["surprise"] = 1.into()), &["description", "surprise"]);
    refused(described(&whole, |it| it["architecture"]["surprise"] = 1.into()), &["description", "surprise"]);
    refused(described(&whole, |it| it["seed"] = "one".into()), &["description"]);
    for field in ["seed", "architecture", "input", "steps_done", "test_accuracy"] {
        let without = described(&whole, |it| drop(it.as_object_mut().unwrap().remove(field)));
        refused(without, &["description", "missing", field]);
    }
    refused(described(&whole, |it| it["input"] = "28x28".into()), &["input"]);
    refused(described(&whole, |it| it["classes"][3] = "three".into()), &["classes"]);
    refused(described(&whole, |it| it["steps_done"] = 6.into()), &["steps"]);
    refused(described(&whole, |it| it["test_accuracy"] = 1.5.into()), &["accuracy"]);
    refused(described(&whole, |it| it["learning_rate"] = (-1.0).into()), &["learning_rate"]);
    for absurd in [
        json!([1_000_000_000_000u64]),
        json!([u64::MAX, u64::MAX]),
        json!(vec![1; 100_000]),
        json!(vec![u64::MAX; 100]),
    ] {
        refused(described(&whole, |it| it["architecture"]["hidden"] = absurd), &["hidden"]);
    }
    refused(
        described(&whole, |it| it["architecture"]["hidden"] = json!([7, 6])),
        &["hidden.1", "F32 [6, 7]", "[5, 7]"],
    );
    refused(described(&whole, |it| it["architecture"]["hidden"] = json!([7])), &["output.weight"]);
    refused(described(&whole, |it| it["architecture"]["hidden"] = json!([7, 5, 5])), &["hidden.2", "got none"]);
    refused(described(&whole, |it| it["architecture"]["epsilon"] = (-1.0).into()), &["epsilon"]);
    refused(described(&whole, |it| it["batch_norm"] = false.into()), &["hidden.0.linear.bias", "got none"]);

    let (mut header, data) = split(&whole);
    let moved = header.as_object_mut().unwrap().remove("output.bias").unwrap();
    header["output.offset"] = moved;
    refused(together(&header, &data), &["output.bias", "got none"]);
    let (mut header, mut data) = split(&whole);
    let end = data.len();
    header["intruder"] = json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
    data.extend([0; 4]);
    refused(together(&header, &data), &["intruder"]);
    let (mut header, data) = split(&whole);
    header["output.bias"]["dtype"] = "I32".into();
    refused(together(&header, &data), &["output.bias", "F32 [10]", "I32 [10]"]);

    refused(filled(&whole, "hidden.1.linear.weight", f32::NAN), &["hidden.1.linear.weight", "finite", "NaN"]);
    refused(filled(&whole, "output.bias", f32::INFINITY), &["output.bias", "inf"]);
    refused(filled(&whole, "hidden.0.norm.running_var", -1e-3), &["running_var", ">= 0", "-0.001"]);
    assert!(Model::from_bytes(filled(&whole, "hidden.0.norm.running_mean", -1e-3)).is_ok());
}

#[test]
fn damage_anywhere_in_the_header_never_panics() {
    let whole = trained(&plan(true, 1), None, 1);
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for at in 0..header {
        for byte in [b'0', b'9', b'"', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            refused += usize::from(Model::from_bytes(bytes).is_err());
        }
    }
    println!("{refused} of {} refused", 4 * header);
    assert!(refused > 2 * header);
}

#[test]
fn a_network_that_diverged_is_no_file() {
    let plan = plan(true, 1);
    let data = digits::data().summary;
    let wild = Recipe { start: Some(Start::Gaussian(1e300)), ..plan.network.clone() };
    let network = wild.start(data.input, 10, 1, &Training::device());
    let score = Score { loss: f64::NAN, accuracy: 0.1 };
    let description = Description::new(data, plan.clone(), 1, score);
    let error = Model::new(description, &plan.training(network, 1)).to_bytes().unwrap_err();
    assert!(matches!(&error, ModelError::Tensor { got, .. } if got.contains("inf")), "{error}");
}

/// What another program leaves of a file: the tensors, maybe with PyTorch's batch counts, and metadata of its own.
fn by_another_program(bytes: &[u8], counted: bool) -> Vec<u8> {
    let (mut header, mut data) = split(bytes);
    header["__metadata__"] = json!({"format": "pt"});
    if counted {
        for layer in 0..2 {
            let at = data.len();
            data.extend(5i64.to_le_bytes());
            header[format!("hidden.{layer}.norm.num_batches_tracked")] =
                json!({"dtype": "I64", "shape": [], "data_offsets": [at, at + 8]});
        }
    }
    together(&header, &data)
}

#[test]
fn a_model_without_its_description_is_used_again_with_it() {
    let whole = trained(&plan(true, 5), None, 5);
    let expected = Model::from_bytes(whole.clone()).unwrap();
    let (header, _) = split(&whole);
    let text = header["__metadata__"][KEY].as_str().unwrap();
    let mut summary = expected.description.summary();
    summary["file"] = "model.safetensors".into();
    summary["seconds"] = 0.5.into();
    let files = [
        whole.clone(),
        text.as_bytes().to_vec(),
        header["__metadata__"].to_string().into_bytes(),
        summary.to_string().into_bytes(),
    ];
    for (number, file) in files.iter().enumerate() {
        let description = Description::from_bytes(file).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(description, expected.description, "{number}");
        for counted in [false, true] {
            let bare = by_another_program(&whole, counted);
            assert_eq!(Model::from_bytes(bare.clone()).unwrap_err(), ModelError::Foreign);
            let model = Model::with_description(bare, description.clone()).unwrap();
            // It is the same file again.
            assert_eq!(model.to_bytes().unwrap(), whole, "{number}, counted: {counted}");
        }
    }
    // The description of another network, none, or two.
    let other = Description { plan: plan(false, 5), ..expected.description.clone() };
    let error = Model::with_description(by_another_program(&whole, false), other).unwrap_err().to_string();
    assert!(error.contains("tensor hidden.0.linear.bias: expected F32 [7], got none"), "{error}");
    let two = Model::with_description(whole.clone(), expected.description.clone()).unwrap_err();
    assert_eq!(two, ModelError::TwoDescriptions);
    for (bytes, says) in [
        (&b"not JSON"[..], "description"),
        (b"{}", "format"),
        (b"[1, 2]", "format"),
        (br#"{"plan": {"seed": 1}}"#, "missing field"),
        (&by_another_program(&whole, false), "without its description"),
    ] {
        let error = Description::from_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains(says) && error.lines().count() == 1, "{error}");
    }
    // A count beside no norm, or of another type, is a tensor too many.
    let (mut header, mut data) = split(&whole);
    data.extend(5i64.to_le_bytes());
    header["other.norm.num_batches_tracked"] =
        json!({"dtype": "I64", "shape": [], "data_offsets": [data.len() - 8, data.len()]});
    let error = Model::from_bytes(together(&header, &data)).unwrap_err().to_string();
    assert!(error.contains("other.norm.num_batches_tracked: expected none of that name"), "{error}");
}
