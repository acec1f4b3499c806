//! Files of each kind, and of none.

use std::fs;

use batchnorm_model::onnx::{NewAttribute as A, NewModel};
use serde_json::json;

use crate::support::{folder, refused, run};
use crate::{healthy, json as inspected, models, weights};

fn statistics<'n>(mean: &'n str, variance: &'n str, channels: usize) -> [(&'n str, Vec<f32>); 2] {
    [(mean, vec![0.5; channels]), (variance, vec![2.0; channels])]
}

#[test]
fn weights_in_one_file_and_in_several() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(
        at("one.safetensors"),
        weights(&statistics("a.running_mean", "a.running_var", 3), &[("a.num_batches_tracked", 7)]),
    )
    .unwrap();
    fs::write(at("two.safetensors"), weights(&statistics("b.moving_mean", "b.moving_variance", 4), &[])).unwrap();
    let found = inspected(folder.path(), "one.safetensors", &[]);
    assert_eq!((&found["kind"], &found["batch_norms"][0]["batches"]), (&json!("safetensors"), &json!(7)));
    let map = |pairs: &[(&str, &str)]| {
        let map: serde_json::Map<String, serde_json::Value> =
            pairs.iter().map(|(name, file)| ((*name).to_owned(), json!(file))).collect();
        json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string()
    };
    let right = [
        ("a.running_mean", "one.safetensors"),
        ("a.running_var", "one.safetensors"),
        ("a.num_batches_tracked", "one.safetensors"),
        ("b.moving_mean", "two.safetensors"),
        ("b.moving_variance", "two.safetensors"),
    ];
    fs::write(at("model.safetensors.index.json"), map(&right)).unwrap();
    let found = inspected(folder.path(), "model.safetensors.index.json", &[]);
    let names: Vec<&str> =
        found["batch_norms"].as_array().unwrap().iter().map(|norm| norm["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(found["batch_norms"][1]["channels"], 4);
    let wrong = |pairs: &[(&str, &str)], parts: &[&str]| {
        fs::write(at("wrong.index.json"), map(pairs)).unwrap();
        refused(&run(folder.path(), &["inspect", "wrong.index.json"]), 3, parts);
    };
    wrong(&right[..4], &["b.moving_variance", "expected it in no file", "two.safetensors"]);
    wrong(&[("a.running_mean", "two.safetensors")], &["two.safetensors"]);
    wrong(&[&right[..], &[("c", "two.safetensors")]].concat(), &["\"c\"", "none of this name there"]);
    wrong(&[("a", "../one.safetensors")], &["../one.safetensors", "leads elsewhere"]);
    wrong(&[("a", "/etc/passwd")], &["leads elsewhere"]);
    wrong(&[("a", "absent.safetensors")], &["absent.safetensors"]);
    fs::copy(at("one.safetensors"), at("copy.safetensors")).unwrap();
    let twice: Vec<(&str, &str)> = right.iter().copied().chain([("d", "copy.safetensors")]).collect();
    wrong(&twice, &["copy.safetensors"]);
}

#[test]
fn values_in_other_files() {
    use batchnorm_model::edit::Edits;
    use batchnorm_model::onnx::Model;
    use batchnorm_model::wire::put_bytes;
    let folder = folder();
    let plain = healthy().to_bytes();
    let expected = {
        fs::write(folder.path().join("plain.onnx"), &plain).unwrap();
        inspected(folder.path(), "plain.onnx", &[])
    };
    // All tensors go into another file, one behind another.
    let outside = |location: &str, last_length: Option<u64>| {
        let model = Model::read(&plain).unwrap();
        let (mut edits, mut data) = (Edits::default(), Vec::new());
        for tensor in &model.graph.initializers {
            let batchnorm_model::onnx::Values::Raw(bytes) = tensor.values else { panic!() };
            let entry = |key: &str, value: &str| {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_bytes(&mut entry, 2, value.as_bytes());
                let mut field = Vec::new();
                put_bytes(&mut field, 13, &entry);
                field
            };
            let length = last_length.unwrap_or(bytes.len() as u64);
            let mut external = [
                entry("location", location),
                entry("offset", &data.len().to_string()),
                entry("length", &length.to_string()),
            ]
            .concat();
            external.extend([14 << 3, 1]);
            edits.append(tensor.content.clone(), &external);
            data.extend_from_slice(bytes);
        }
        let mut file = Vec::new();
        edits.write(&plain, &mut file).unwrap();
        (file, data)
    };
    let (file, data) = outside("data/weights.bin", None);
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/weights.bin"), &data).unwrap();
    fs::write(folder.path().join("m.onnx"), file).unwrap();
    let found = inspected(folder.path(), "m.onnx", &[]);
    assert_eq!(found["batch_norms"], expected["batch_norms"]);
    fs::write(folder.path().join("data/weights.bin"), &data[..data.len() - 40]).unwrap();
    let found = inspected(folder.path(), "m.onnx", &[]);
    let why = found["batch_norms"][1]["not_readable"].as_str().unwrap();
    assert!(why.contains("data/weights.bin") && why.contains("got a file of"), "{why}");
    for location in ["../weights.bin", "/etc/passwd", "absent"] {
        fs::write(folder.path().join("m.onnx"), outside(location, None).0).unwrap();
        let found = inspected(folder.path(), "m.onnx", &[]);
        assert_eq!(found["findings"][0]["code"], "BN020", "{location}: {found:#}");
    }
    fs::write(folder.path().join("m.onnx"), outside("data/weights.bin", Some(1)).0).unwrap();
    let found = inspected(folder.path(), "m.onnx", &[]);
    assert!(
        found["batch_norms"][0]["not_readable"].as_str().unwrap().contains("1 bytes are said, and its shape has 16"),
        "{found:#}"
    );
}

#[test]
fn each_type_of_numbers_and_each_place_of_them() {
    use batchnorm_model::numbers::Precision;
    use batchnorm_model::onnx::{NewTensor, NewValues};
    let folder = folder();
    for precision in [Precision::F32, Precision::F64, Precision::F16, Precision::Bf16] {
        let mut model = healthy();
        for tensor in &mut model.graph.initializers {
            let NewTensor { values: NewValues::Floats(of, values), .. } = tensor else { panic!() };
            *of = precision;
            values.iter_mut().for_each(|value| *value = (*value * 64.0).round() / 64.0 + 0.25);
        }
        fs::write(folder.path().join("m.onnx"), model.to_bytes()).unwrap();
        let found = inspected(folder.path(), "m.onnx", &["--layer", "bn1"]);
        let NewValues::Floats(_, expected) = &model.graph.initializers[4].values else { panic!() };
        let got: Vec<f64> = found["batch_norm"]["channels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|channel| channel["mean"].as_f64().unwrap())
            .collect();
        assert_eq!((&got, found["batch_norm"]["precision"].as_str()), (expected, Some(&*precision.to_string())));
    }
}

#[test]
fn what_is_no_model_is_told_with_what_to_do() {
    let folder = folder();
    let said = |name: &str, bytes: &[u8], parts: &[&str]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        let parts: Vec<&str> = [name].into_iter().chain(parts.iter().copied()).collect();
        refused(&run(folder.path(), &["inspect", name]), 3, &parts);
    };
    said("lfs.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", &["git lfs pull"]);
    said("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", &["git lfs pull"]);
    said("empty.onnx", b"", &["empty"]);
    said("model.h5", b"\x89HDF\r\n\x1a\n....", &["HDF5", "tf2onnx"]);
    said("model.gguf", b"GGUF....", &["GGUF"]);
    said("model.npz", b"PK\x03\x04", &["NumPy", "safetensors"]);
    said("page.onnx", b"<!DOCTYPE html>", &["page"]);
    said("config.json", b"{\"hidden\": 3}", &["weight_map"]);
    said("cut.onnx", &healthy().to_bytes()[..200], &["ONNX", "bytes"]);
    said("ff.onnx", &[0xff; 11], &["ONNX", "varint"]);
    said("cut.safetensors", &weights(&[("a", vec![1.0; 9])], &[])[..60], &["cut off"]);
    said("no.pth", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &["data.pkl"]);
    refused(&run(folder.path(), &["inspect", "absent.onnx"]), 3, &["absent.onnx"]);
    refused(&run(folder.path(), &["inspect", "."]), 3, &["regular file"]);
    // A name twice, which the format's own reader lets pass.
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    said("twice.safetensors", &file, &["\"a\"", "twice"]);
}

#[test]
fn graphs_that_cannot_run_are_told() {
    let folder = folder();
    let said = |change: &dyn Fn(&mut NewModel), parts: &[&str]| {
        let mut model = healthy();
        change(&mut model);
        fs::write(folder.path().join("m.onnx"), model.to_bytes()).unwrap();
        refused(&run(folder.path(), &["inspect", "m.onnx"]), 3, parts);
    };
    let relu = |from: &str, to: &str| models::node("Relu", &[from], &[to], &[]);
    said(&|m| m.graph.nodes[0].inputs[0] = "y".into(), &["circle"]);
    said(&|m| m.graph.nodes[2] = relu("c", "c"), &["circle", "Relu c"]);
    said(&|m| m.graph.nodes.push(relu("x", "y")), &["\u{79}: expected one value of this name, got two"]);
    said(
        &|m| {
            let again = m.graph.initializers[0].clone();
            m.graph.initializers.push(again);
        },
        &["w1", "got two"],
    );
    said(&|m| m.graph.outputs[0].name = "nowhere".into(), &["nowhere", "the graph's output"]);
    said(&|m| m.graph.nodes[2].inputs[0] = "nothing".into(), &["nothing", "Relu c"]);
    said(
        &|m| {
            let inner = models::model(13, &[], vec![relu("outside", "r")], vec![]).graph;
            let branch =
                batchnorm_model::onnx::NewGraph { inputs: vec![], outputs: vec![models::shapeless("r")], ..inner };
            m.graph.nodes.push(models::node("If", &["x"], &["z"], &[("then_branch", A::Graph(Box::new(branch)))]));
        },
        &["outside"],
    );
    let mut two = healthy().to_bytes();
    two.extend(healthy().to_bytes());
    fs::write(folder.path().join("m.onnx"), two).unwrap();
    refused(&run(folder.path(), &["inspect", "m.onnx"]), 3, &["one graph, got 2"]);
}
