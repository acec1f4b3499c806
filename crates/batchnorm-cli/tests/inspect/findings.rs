//! Each finding has a file that raises it, and one beside it that does not; and each command that is printed runs.

use std::process::Command;

use batchnorm_model::health::Code;
use batchnorm_model::numbers::Precision;
use batchnorm_model::onnx::{NewAttribute as A, NewModel, NewTensor, NewValues};

use crate::{healthy, json, models, node_of, set, support, weights};

/// A file that raises a finding and one that does not, the extension that both have, and the layer that the finding is about.
struct Pair {
    code: Code,
    raises: Vec<u8>,
    does_not: Vec<u8>,
    extension: &'static str,
    layer: Option<&'static str>,
}

/// Two models: the healthy one changed so that it raises the finding, and changed nearly so.
fn onnx(code: Code, raises: impl Fn(&mut NewModel), does_not: impl Fn(&mut NewModel)) -> Pair {
    let of = |change: &dyn Fn(&mut NewModel)| {
        let mut model = healthy();
        change(&mut model);
        model.to_bytes()
    };
    Pair { code, raises: of(&raises), does_not: of(&does_not), extension: "onnx", layer: Some("bn1") }
}

fn put(model: &mut NewModel, tensor: &str, values: &[f64]) {
    put_as(model, tensor, values, Precision::F32);
}

fn put_as(model: &mut NewModel, tensor: &str, values: &[f64], precision: Precision) {
    let at = model.graph.initializers.iter().position(|other| other.name == tensor).expect("a tensor of the model");
    let values = NewValues::Floats(precision, values.to_vec());
    model.graph.initializers[at] = NewTensor { name: tensor.to_owned(), shape: vec![4], values };
}

fn train(model: &mut NewModel) {
    set(node_of(model, "bn1"), "training_mode", A::Int(1));
}

fn pairs() -> Vec<Pair> {
    let statistics = |model: &mut NewModel, mean: f64, variance: f64| {
        put(model, "bn1_mean", &[mean; 4]);
        put(model, "bn1_var", &[variance; 4]);
    };
    let halves = |model: &mut NewModel, mean: f64, variance: f64| {
        for (tensor, value) in [("bn1_mean", mean), ("bn1_var", variance)] {
            put_as(model, tensor, &[0.5, 0.5, 0.5, value], Precision::F16);
        }
    };
    let reshaped = |model: &mut NewModel, shape: &[i64]| {
        train(model);
        model.graph.initializers.push(models::ints("shape", shape));
        model.graph.nodes.insert(1, models::node("Reshape", &["a", "shape"], &["r"], &[]));
        node_of(model, "bn1").inputs[0] = "r".into();
    };
    let old = |model: &mut NewModel, spatial: i64, length: usize| {
        model.opset = 8;
        set(node_of(model, "bn1"), "spatial", A::Int(spatial));
        for what in ["gamma", "beta", "mean", "var"] {
            let name = format!("bn1_{what}");
            let at = model.graph.initializers.iter().position(|tensor| tensor.name == name).unwrap();
            model.graph.initializers[at] =
                models::vectors("bn1", length).into_iter().find(|tensor| tensor.name == name).unwrap();
        }
    };
    let biased = |model: &mut NewModel, bias: f64| {
        model.graph.initializers.push(models::tensor("bias", &[4], vec![bias; 4]));
        node_of(model, "a").inputs.push("bias".into());
    };
    let counted = |mean: f32, variance: f32, count: i64| {
        weights(
            &[("bn1.running_mean", vec![mean; 4]), ("bn1.running_var", vec![variance; 4])],
            &[("bn1.num_batches_tracked", count)],
        )
    };
    let safetensors = |raises: Vec<u8>, does_not: Vec<u8>| Pair {
        code: Code::BatchesContradict,
        raises,
        does_not,
        extension: "safetensors",
        layer: Some("bn1"),
    };
    vec![
        onnx(Code::AtTheirStart, |m| statistics(m, 0.0, 1.0), |m| statistics(m, 0.0, 0.99)),
        onnx(
            Code::NotFinite,
            |m| put(m, "bn1_beta", &[0.0, f64::NAN, 0.0, 0.0]),
            |m| put(m, "bn1_beta", &[0.0, 3e38, 0.0, 0.0]),
        ),
        onnx(
            Code::NotFinite,
            |m| put(m, "bn1_var", &[1.0, f64::INFINITY, 1.0, 1.0]),
            |m| put(m, "bn1_var", &[1.0, 3e38, 1.0, 1.0]),
        ),
        onnx(
            Code::NegativeVariance,
            |m| put(m, "bn1_var", &[1.0, -1e-9, 1.0, 1.0]),
            |m| put(m, "bn1_var", &[1.0, 1e-9, 1.0, 1.0]),
        ),
        onnx(
            Code::NoVariance,
            |m| put(m, "bn1_var", &[1.0, 0.0, 1.0, 1.0]),
            |m| put(m, "bn1_var", &[1.0, 1e-30, 1.0, 1.0]),
        ),
        onnx(
            Code::BelowEpsilon,
            |m| put(m, "bn1_var", &[1.0, 0.9e-7, 1.0, 1.0]),
            |m| put(m, "bn1_var", &[1.0, 1.1e-7, 1.0, 1.0]),
        ),
        onnx(
            Code::DeadChannels,
            |m| put(m, "bn1_gamma", &[1.0, 0.0, 2.0, 3.0]),
            |m| put(m, "bn1_gamma", &[1.0, 1e-6, 2.0, 3.0]),
        ),
        onnx(
            Code::GammaAlike,
            |m| put(m, "bn1_gamma", &[1.0; 4]),
            |m| put(m, "bn1_gamma", &[1.0, 1.0, 1.0, 1.000_001]),
        ),
        onnx(Code::HalfAtItsLimits, |m| halves(m, 65_504.0, 0.5), |m| halves(m, 65_440.0, 0.5)),
        onnx(Code::HalfAtItsLimits, |m| halves(m, 0.0, 6.0e-5), |m| halves(m, 0.0, 6.2e-5)),
        onnx(Code::LeftInTraining, train, |_| {}),
        onnx(
            Code::NeverTracked,
            |m| {
                train(m);
                statistics(m, 0.0, 1.0);
            },
            train,
        ),
        onnx(
            Code::TrainingOfConstants,
            |m| {
                train(m);
                node_of(m, "bn1").inputs[0] = "v".into();
                m.graph.initializers.push(models::weights("u", &[4, 4, 3, 3]));
                m.graph.initializers.push(models::ints("shape", &[1, 4, -1]));
                m.graph.nodes.insert(0, models::node("Reshape", &["u", "shape"], &["v"], &[]));
            },
            train,
        ),
        onnx(
            Code::TrainingOfInstances,
            |m| {
                reshaped(m, &[1, 4, 9, 9]);
                statistics(m, 0.0, 1.0);
            },
            |m| reshaped(m, &[1, 4, 9, 9]),
        ),
        onnx(
            Code::MomentumInverted,
            |m| set(node_of(m, "bn1"), "momentum", A::Float(0.1)),
            |m| set(node_of(m, "bn1"), "momentum", A::Float(0.9)),
        ),
        onnx(
            Code::EpsilonDiffers,
            |m| {
                set(node_of(m, "bn1"), "epsilon", A::Float(1e-3));
                m.graph.nodes.push(models::norm("bn3", "y", "z"));
                m.graph.initializers.extend(models::vectors("bn3", 4));
            },
            |m| {
                // Two of each: neither is the usual one.
                set(node_of(m, "bn1"), "epsilon", A::Float(1e-3));
            },
        ),
        onnx(Code::SpatialByMistake, |m| old(m, 0, 4), |m| old(m, 1, 4)),
        onnx(Code::SpatialByMistake, |m| old(m, 0, 4), |m| old(m, 0, 4 * 9 * 9)),
        onnx(Code::SharedVectors, |m| node_of(m, "bn2").inputs[1] = "bn1_gamma".into(), |_| {}),
        onnx(Code::UselessBias, |m| biased(m, 0.25), |m| biased(m, 0.0)),
        safetensors(counted(0.5, 2.0, 0), counted(0.5, 2.0, 100)),
        safetensors(counted(0.0, 1.0, 100), counted(0.0, 1.0, 0)),
        safetensors(counted(0.5, 2.0, -1), counted(0.5, 2.0, 1)),
        Pair {
            layer: None,
            ..onnx(
                Code::NoBatchNorm,
                |m| {
                    m.graph.nodes.retain(|node| node.operator != "BatchNormalization");
                    node_of(m, "c").inputs[0] = "a".into();
                    node_of(m, "d").outputs[0] = "y".into();
                },
                |_| {},
            )
        },
        onnx(
            Code::NotReadable,
            |m| {
                m.graph.initializers.retain(|tensor| tensor.name != "bn1_mean");
                m.graph.inputs.push(models::value("bn1_mean", &[4]));
            },
            |_| {},
        ),
    ]
}

#[test]
fn every_code_has_a_file_that_raises_it_and_one_beside_it_that_does_not() {
    let folder = support::folder();
    let all = pairs();
    let tested: std::collections::BTreeSet<Code> = all.iter().map(|pair| pair.code).collect();
    assert_eq!(tested.into_iter().collect::<Vec<Code>>(), Code::ALL);
    // What stands in commands for the user's own.
    crate::recalibrate::put_data(folder.path(), "data.npy", &[4, 3, 9, 9]);
    let (mut commands, mut recalibrations, mut fixes) = (0, 0, 0);
    for (number, pair) in all.iter().enumerate() {
        let code = pair.code.to_string();
        let [raises, does_not] =
            ["raises", "does not"].map(|what| format!("{code} {what} {number}.{}", pair.extension));
        std::fs::write(folder.path().join(&raises), &pair.raises).unwrap();
        std::fs::write(folder.path().join(&does_not), &pair.does_not).unwrap();
        let found = json(folder.path(), &raises, &[]);
        let own: Vec<&serde_json::Value> =
            found["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == code.as_str()).collect();
        assert!(!own.is_empty(), "{raises}: {found:#}");
        assert_eq!(own[0]["layer"].as_str(), pair.layer, "{raises}: {found:#}");
        assert!(own[0]["severity"] == pair.code.severity().to_string().as_str(), "{raises}: {found:#}");
        for text in ["text", "mend", "what"] {
            assert!(!own[0][text].as_str().unwrap().is_empty());
        }
        if let Some(layer) = pair.layer {
            let norms = found["batch_norms"].as_array().unwrap();
            let norm = norms.iter().find(|norm| norm["name"] == layer).unwrap();
            assert!(norm["findings"].as_array().unwrap().contains(&code.clone().into()), "{raises}: {found:#}");
        }
        let other = json(folder.path(), &does_not, &[]);
        let there = other["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["code"] == code.as_str() && finding["layer"].as_str() == pair.layer);
        assert!(!there, "{does_not}: {other:#}");
        // As a person sees it: the same, and every command in it runs, in a shell as it stands there.
        let shown = support::run(folder.path(), &["inspect", &raises]);
        let shown = support::done(&shown);
        assert!(shown.contains(&format!("{code} {}: ", pair.code.severity())), "{shown}");
        for finding in found["findings"].as_array().unwrap() {
            if let Some(command) = finding["command"].as_str() {
                runs(folder.path(), command);
                commands += 1;
                recalibrations += usize::from(command.starts_with("batchnorm recalibrate "));
                if let Some((_, mended)) = command.split_once(" --fix ") {
                    // What it was printed for is gone.
                    let after = json(folder.path(), mended.trim_matches('\''), &[]);
                    let stays =
                        |other: &serde_json::Value| ["code", "layer"].iter().all(|key| other[key] == finding[key]);
                    assert!(!after["findings"].as_array().unwrap().iter().any(stays), "{command}: {after:#}");
                    fixes += 1;
                }
            }
        }
    }
    assert!(
        commands >= 7 && recalibrations >= 2 && fixes >= 4,
        "only {commands} commands were printed, {recalibrations} on data, {fixes} that mend"
    );
}

/// Runs a command as it was printed.
fn runs(folder: &std::path::Path, command: &str) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_batchnorm")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new("sh").args(["-c", command]).current_dir(folder).env("PATH", path).output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", support::text(&output.stderr));
}

#[test]
fn a_healthy_model_has_no_finding() {
    let folder = support::folder();
    std::fs::write(folder.path().join("m.onnx"), healthy().to_bytes()).unwrap();
    let found = json(folder.path(), "m.onnx", &[]);
    assert_eq!(found["findings"], serde_json::json!([]), "{found:#}");
    let norms = found["batch_norms"].as_array().unwrap();
    assert!(norms.iter().all(|norm| norm["foldable"] == true && norm["reason"].is_null()), "{found:#}");
}
