//! `batchnorm export`, from outside: networks of every kind go out, `inspect` looks at what came, and small ones run to what they were.

#[path = "../../batchnorm-model/tests/support/run.rs"]
mod run;
mod support;

use std::fs;
use std::path::Path;

use batchnorm_lab::export::{to_onnx, to_safetensors};
use batchnorm_lab::model::Model;
use batchnorm_model::onnx::{NewModel, NewValues};
use batchnorm_model::weights::NewWeights;
use serde_json::Value;

use support::{done, folder, refused, text};

/// Two convolutions or a residual network, and hidden layers, small enough for a second.
const PLAIN: &str = "hidden = [12, 8]";
const CONVOLUTIONS: &str =
    "hidden = [8]\nconvolutions = [{ channels = 4, kernel = 3, pool = 2 }, { channels = 8, kernel = 5 }]";
const RESIDUAL: &str = "hidden = []\nconvolutions = [{ channels = 4, kernel = 3 }]\nstages = [{ channels = 4, blocks = 1 }, { channels = 8, blocks = 2 }]";
/// The norms of each: two hidden layers; two convolutions and a hidden layer; one, two a block, one of a shortcut.
const NORMS: [(&str, usize); 3] = [(PLAIN, 2), (CONVOLUTIONS, 3), (RESIDUAL, 8)];

/// Trains a network of this TOML on a part of the digits, for a few steps of seed 1, as `model.safetensors`.
fn train(folder: &Path, toml: &str, more: &[&str]) {
    fs::write(folder.join("network.toml"), toml).unwrap();
    let fixed = "train --data digits --examples 300 --steps 20 --seed 1 --restart --threads 1 --network network.toml --output model.safetensors";
    let arguments: Vec<&str> = fixed.split(' ').chain(more.iter().copied()).collect();
    done(&support::run(folder, &arguments));
}

fn export(folder: &Path, arguments: &[&str]) -> std::process::Output {
    support::run(folder, &[&["export", "model.safetensors"], arguments].concat())
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(done(&support::run(folder, arguments))).expect("stdout is JSON")
}

fn model(folder: &Path) -> Model {
    Model::from_bytes(fs::read(folder.join("model.safetensors")).unwrap()).unwrap()
}

/// The codes of findings that are worse than a note.
fn worse_than_notes(inspected: &Value) -> Vec<String> {
    let findings = inspected["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["severity"] != "note").map(|finding| finding["code"].to_string()).collect()
}

#[test]
fn every_norm_goes_out_and_inspect_finds_the_batch_norms_and_nothing_wrong() {
    let folder = folder();
    let here = folder.path();
    for (network, layers) in NORMS {
        for norm in ["none", "batch", "renorm", "layer", "group", "instance", "rms", "decorrelated"] {
            if norm == "instance" && network == PLAIN {
                continue; // (It is of convolutions.)
            }
            let placement = if norm == "batch" { "after" } else { "before" };
            train(here, network, &["--norm", norm, "--placement", placement]);
            for output in ["out.onnx", "out.safetensors"] {
                if (norm, output) == ("decorrelated", "out.safetensors") {
                    continue; // (It is refused, below.)
                }
                done(&export(here, &[output]));
                let inspected = json(here, &["inspect", output, "--json"]);
                // In a file without a graph instance norm and its like, which have no running statistics, are no batch norms either.
                let expected = if matches!(norm, "batch" | "renorm") { layers } else { 0 };
                let found = inspected["batch_norms"].as_array().unwrap();
                assert_eq!(found.len(), expected, "{norm} {output} of {network}: {inspected:#}");
                assert_eq!(worse_than_notes(&inspected), [""; 0], "{norm} {output} of {network}: {inspected:#}");
                let written = fs::read(here.join(output)).unwrap();
                done(&export(here, &[output]));
                assert_eq!(fs::read(here.join(output)).unwrap(), written, "{norm} {output} of {network}");
            }
        }
    }
}

#[test]
fn what_is_spoiled_on_purpose_is_found() {
    let folder = folder();
    let here = folder.path();
    train(here, CONVOLUTIONS, &["--norm", "batch"]);
    let model = model(here);
    done(&export(here, &["out.onnx"]));
    let healthy = to_onnx(&model).unwrap();
    assert_eq!(fs::read(here.join("out.onnx")).unwrap(), healthy.to_bytes());

    let fill = |model: &mut NewModel, name: &str, number: f64| {
        let tensor = model.graph.initializers.iter_mut().find(|tensor| tensor.name == name).expect("a tensor of it");
        let NewValues::Floats(_, values) = &mut tensor.values else { panic!("{name} is of floats") };
        values.fill(number);
    };
    let found = |file: &str, bytes: &[u8]| {
        fs::write(here.join(file), bytes).unwrap();
        worse_than_notes(&json(here, &["inspect", file, "--json"]))
    };
    let layer = "convolutions.1.norm";
    for (code, changes) in [
        ("\"BN004\"", &[("running_var", 0.0)][..]),
        ("\"BN001\"", &[("running_mean", 0.0), ("running_var", 1.0)]),
        ("\"BN003\"", &[("running_var", -1.0)]),
    ] {
        let mut spoiled = healthy.clone();
        changes.iter().for_each(|(name, number)| fill(&mut spoiled, &format!("{layer}.{name}"), *number));
        assert_eq!(found("spoiled.onnx", &spoiled.to_bytes()), [code]);
    }
    // Weights that say how many batches the statistics are of.
    let healthy = to_safetensors(&model).unwrap();
    assert_eq!(found("spoiled.safetensors", &healthy.to_bytes()), [""; 0]);
    let mut spoiled: NewWeights = healthy;
    let count =
        spoiled.tensors.iter_mut().find(|tensor| tensor.name == format!("{layer}.num_batches_tracked")).unwrap();
    assert_eq!((count.shape.len(), &count.values), (0, &NewValues::Ints(vec![20])));
    count.values = NewValues::Ints(vec![0]);
    assert_eq!(found("spoiled.safetensors", &spoiled.to_bytes()), ["\"BN018\""]);
}

#[test]
fn it_runs_to_the_scores_of_the_network_folded_or_not() {
    let folder = folder();
    let here = folder.path();
    let without_pooling = CONVOLUTIONS.replace(", pool = 2", "");
    let mut worst: f64 = 0.0;
    for network in [PLAIN, &without_pooling] {
        for placement in ["before", "after"] {
            train(here, network, &["--norm", "batch", "--placement", placement]);
            done(&export(here, &["out.onnx"]));
            let folding = json(here, &["export", "model.safetensors", "folded.onnx", "--fold", "--json"]);
            let folds = folding["folding"]["folds"].as_array().unwrap().len();
            let left = json(here, &["inspect", "folded.onnx", "--json"])["batch_norms"].as_array().unwrap().len();
            let all = json(here, &["inspect", "out.onnx", "--json"])["batch_norms"].as_array().unwrap().len();
            assert_eq!(folds + left, all);
            // Before the activation all go into the layer in front; behind it the next one takes them, but for a convolution that pads.
            let stay = usize::from(placement == "after" && network != PLAIN);
            assert_eq!(left, stay, "{placement} {network}: {folding:#}");
            let inputs = support::noise(3 * 64, 0.0, 11);
            let singles: Vec<f32> = inputs.iter().map(|&value| value as f32).collect();
            let expected: Vec<f64> = model(here).scores(&singles).into_iter().map(f64::from).collect();
            let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            for file in ["out.onnx", "folded.onnx"] {
                let input = run::Array {
                    shape: vec![3, 1, 8, 8],
                    values: singles.iter().map(|&value| f64::from(value)).collect(),
                };
                let scores = run::run(&fs::read(here.join(file)).unwrap(), &input).remove(0);
                assert_eq!(scores.shape, [3, 10]);
                let differences = scores.values.iter().zip(&expected).map(|(one, other)| (one - other).abs() / largest);
                worst = worst.max(differences.fold(0.0, f64::max));
                assert!(worst <= 1e-5, "{file} {placement} {network}: {worst:e}");
            }
        }
    }
    println!("largest difference, relative to the largest score: {worst:.1e} (seed 1)");
}

#[test]
fn the_metadata_say_what_goes_in_and_json_says_what_was_written() {
    let folder = folder();
    let here = folder.path();
    train(here, PLAIN, &["--norm", "batch"]);
    let said = json(here, &["export", "model.safetensors", "out.onnx", "--json"]);
    support::expect_documented(&said);
    assert_eq!((&said["kind"], &said["opset"]), (&Value::from("ONNX"), &Value::from(17)));
    let recipe = said["recipe"].as_str().unwrap();
    let scale = model(here).description.data.scale.clone().expect("digits by --data are standardised");
    for part in
        [format!("mean = [{}]", scale.mean[0]), format!("sd = [{}]", scale.deviation[0]), "colours = \"grey\"".into()]
    {
        assert!(recipe.contains(&part), "{recipe} lacks {part}");
    }
    assert!(said["note"].as_str().unwrap().contains("ink"), "{said:#}");
    let onnx = to_onnx(&model(here)).unwrap();
    let entry = |name: &str| onnx.metadata.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
    assert_eq!(entry("batchnorm.recipe"), Some(recipe));
    assert_eq!(entry("batchnorm.classes"), Some(r#"["0","1","2","3","4","5","6","7","8","9"]"#));
    let network = batchnorm_lab::network::Recipe::from_toml(entry("batchnorm.network").unwrap()).unwrap();
    assert_eq!(network, model(here).description.plan.network);

    // A table is standardised in the graph; its weights alone say by what.
    fs::write(here.join("table.csv"), support::sets::table()).unwrap();
    let fixed = "train --data table.csv --hidden 6 --steps 20 --restart --threads 1 --output model.safetensors";
    done(&support::run(here, &fixed.split(' ').collect::<Vec<_>>()));
    let said = json(here, &["export", "model.safetensors", "out.onnx", "--json"]);
    assert_eq!(said["recipe"], Value::Null);
    let (onnx, weights) = (to_onnx(&model(here)).unwrap(), to_safetensors(&model(here)).unwrap());
    let operators: Vec<&str> = onnx.graph.nodes.iter().map(|node| node.operator.as_str()).collect();
    assert_eq!(operators[..4], ["Sub", "Sub", "Mul", "Gemm"]);
    let recipe = &weights.metadata.iter().find(|(key, _)| key == "batchnorm.recipe").unwrap().1;
    assert!(recipe.contains("scale = 1.0") && recipe.contains("sd = ["), "{recipe}");

    // What was written is shown to people too.
    let shown = export(here, &["out.onnx"]);
    assert_eq!(done(&shown), "");
    for part in ["hidden.0.linear", "parameters", "opset 17", "wrote out.onnx"] {
        assert!(text(&shown.stderr).contains(part), "{}", text(&shown.stderr));
    }
}

#[test]
fn what_cannot_be_said_is_refused_with_the_layer_and_nothing_is_written() {
    let folder = folder();
    let here = folder.path();
    let expect = |network: &str, flags: &[&str], arguments: &[&str], code: i32, parts: &[&str]| {
        train(here, network, flags);
        refused(&export(here, arguments), code, parts);
        assert!(!here.join(arguments[0]).exists());
    };
    let tiny = ["--norm", "batch", "--epsilon", "1e-50"];
    expect(PLAIN, &tiny, &["a.onnx"], 4, &["model.safetensors: hidden.0.norm", "f32", "1e-50", "--epsilon"]);
    let none = ["--norm", "layer", "--epsilon", "0"];
    expect(CONVOLUTIONS, &none, &["b.onnx"], 4, &["convolutions.0.norm", "above 0", "all alike"]);
    let whitening = ["--norm", "decorrelated"];
    expect(RESIDUAL, &whitening, &["c.safetensors"], 4, &["convolutions.0.norm", "decorrelated", ".onnx"]);
    refused(&export(here, &["d.pt"]), 2, &["OUTPUT", ".onnx", ".safetensors", "d.pt"]);
    refused(&export(here, &["e.safetensors", "--fold"]), 2, &["--fold", ".onnx"]);
    refused(&export(here, &["model.safetensors"]), 2, &["OUTPUT", "MODEL", "lost"]);
    refused(
        &support::run(here, &["export", "missing.safetensors", "f.onnx"]),
        3,
        &["missing.safetensors", "batchnorm train"],
    );
    refused(&export(here, &["nowhere/g.onnx"]), 5, &["nowhere"]);
}
