//! `batchnorm fold`: what it writes, what it says, and what it refuses.

use std::fs;

use batchnorm_model::onnx::Model;
use serde_json::{Value, json};

use crate::support::{done, folder, refused, run, text};
use crate::{healthy, models, weights};

/// The healthy network with one more norm, which no layer takes.
pub fn three() -> Vec<u8> {
    let mut model = healthy();
    model.graph.nodes.push(models::node("Relu", &["y"], &["r"], &[]));
    model.graph.nodes.push(models::norm("bn3", "r", "z"));
    model.graph.outputs = vec![models::shapeless("z")];
    model.graph.initializers.extend(models::vectors("bn3", 4));
    model.to_bytes()
}

#[test]
fn a_model_is_folded_and_each_norm_accounted_for() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), three()).unwrap();
    let output = run(folder.path(), &["fold", "in.onnx", "out.onnx", "--json"]);
    let report: Value = serde_json::from_str(done(&output)).unwrap();
    assert_eq!(text(&output.stderr), "wrote out.onnx\n");
    assert_eq!(
        (&report["batch_norms"], &report["folded"], &report["format"]),
        (&json!(3), &json!(2), &json!("batchnorm-fold 1"))
    );
    assert_eq!(report["kept"][0]["name"], "bn3");
    assert!(report["kept"][0]["reason"].as_str().unwrap().contains("stands behind Relu"));
    let bound = report["bound"].as_f64().unwrap();
    assert!((1e-9..1e-4).contains(&bound), "{report:#}");
    for fold in report["folds"].as_array().unwrap() {
        let of = |name: &str| fold[name].as_f64().unwrap();
        assert!(of("largest_error") <= of("bound") && of("bound") <= bound && of("largest_output") > 0.0, "{report:#}");
    }
    let bytes = fs::read(folder.path().join("out.onnx")).unwrap();
    let operators: Vec<&str> = Model::read(&bytes).unwrap().graph.nodes.iter().map(|node| node.operator).collect();
    assert_eq!(operators, ["Conv", "Relu", "Conv", "Relu", "BatchNormalization"]);
    // What was folded is gone from what is found, and the rest is as healthy as it was.
    let found = crate::json(folder.path(), "out.onnx", &[]);
    assert_eq!(found["batch_norms"].as_array().unwrap().len(), 1);
}

#[test]
fn people_are_shown_where_each_went_and_why_others_stay() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), three()).unwrap();
    let output = run(folder.path(), &["fold", "in.onnx", "--dry-run"]);
    let shown = done(&output);
    for part in
        ["in.onnx: 2 of 3 folded.\n", "│ bn1 ", "Conv a", "bound", "seen", "Stays:\n  bn3: no linear layer beside it"]
    {
        assert!(shown.contains(part), "{shown} lacks {part}");
    }
    assert_eq!(text(&output.stderr), "");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was written");
    let output = run(folder.path(), &["fold", "in.onnx", "out.onnx", "--mul-add"]);
    assert!(done(&output).contains("Made a multiplication and an addition:"), "{}", done(&output));
}

#[test]
fn the_output_may_be_the_input_and_twice_is_once() {
    let folder = folder();
    let path = folder.path().join("m.onnx");
    fs::write(&path, three()).unwrap();
    done(&run(folder.path(), &["fold", "m.onnx", "m.onnx"]));
    let once = fs::read(&path).unwrap();
    let output = run(folder.path(), &["fold", "m.onnx", "m.onnx"]);
    assert!(done(&output).starts_with("m.onnx: 0 of 1 folded."), "{}", done(&output));
    assert_eq!(fs::read(&path).unwrap(), once);
}

#[test]
fn files_without_a_graph_are_refused_and_nothing_is_written() {
    let folder = folder();
    let file = weights(&[("bn.running_mean", vec![0.5; 2]), ("bn.running_var", vec![2.0; 2])], &[]);
    fs::write(folder.path().join("m.safetensors"), file).unwrap();
    fs::write(folder.path().join("no.onnx"), [0xff; 11]).unwrap();
    let output = run(folder.path(), &["fold", "m.safetensors", "out"]);
    refused(&output, 4, &["m.safetensors", "safetensors", "layers beside a norm", "export the network as ONNX"]);
    refused(&run(folder.path(), &["fold", "no.onnx", "out"]), 3, &["no.onnx"]);
    assert_eq!(run(folder.path(), &["fold", "m.onnx"]).status.code(), Some(2));
    assert!(!folder.path().join("out").exists());
    refused(&run(folder.path(), &["fold", "m.safetensors", "absent/out"]), 5, &["absent"]);
}

#[test]
fn models_with_their_tensors_elsewhere_stay_beside_them() {
    use batchnorm_model::edit::Edits;
    use batchnorm_model::wire::put_bytes;
    let folder = folder();
    let plain = three();
    let model = Model::read(&plain).unwrap();
    let (mut edits, mut data) = (Edits::default(), Vec::new());
    let tensor = &model.graph.initializers[0];
    let batchnorm_model::onnx::Values::Raw(bytes) = tensor.values else { panic!() };
    let mut external = Vec::new();
    for (key, value) in [("location", "weights.bin".to_owned()), ("length", bytes.len().to_string())] {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(&mut external, 13, &entry);
    }
    external.extend([14 << 3, 1]);
    edits.append(tensor.content.clone(), &external);
    data.extend_from_slice(bytes);
    let mut file = Vec::new();
    edits.write(&plain, &mut file).unwrap();
    fs::write(folder.path().join("m.onnx"), file).unwrap();
    fs::write(folder.path().join("weights.bin"), &data).unwrap();
    fs::create_dir(folder.path().join("other")).unwrap();
    let output = run(folder.path(), &["fold", "m.onnx", "other/out.onnx"]);
    refused(&output, 3, &["weights.bin", "same folder"]);
    done(&run(folder.path(), &["fold", "m.onnx", "out.onnx"]));
    assert_eq!(fs::read(folder.path().join("weights.bin")).unwrap(), data);
    done(&run(folder.path(), &["inspect", "out.onnx"]));
}
