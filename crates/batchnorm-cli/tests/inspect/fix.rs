//! `batchnorm inspect --fix`: what it writes, what it says, and what it refuses.

use std::fs;

use batchnorm_model::onnx::NewAttribute as A;
use serde_json::{Value, json};

use crate::support::{done, folder, refused, run, text};
use crate::{healthy, models, node_of, set, weights};

/// The healthy network with its first norm left in training mode, and its second one never tracked.
fn broken() -> Vec<u8> {
    let mut model = healthy();
    for name in ["bn1", "bn2"] {
        set(node_of(&mut model, name), "training_mode", A::Int(1));
    }
    for (name, value) in [("bn2_mean", 0.0), ("bn2_var", 1.0)] {
        let at = model.graph.initializers.iter().position(|tensor| tensor.name == name).unwrap();
        model.graph.initializers[at] = models::tensor(name, &[4], vec![value; 4]);
    }
    model.to_bytes()
}

#[test]
fn each_change_is_listed_and_what_is_left_comes_with_the_reason() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), broken()).unwrap();
    let output = run(folder.path(), &["inspect", "in.onnx", "--fix", "out.onnx", "--json"]);
    let report: Value = serde_json::from_str(done(&output)).unwrap();
    assert_eq!(text(&output.stderr), "wrote out.onnx\n");
    let codes = |list: &str| -> Vec<&str> {
        report[list].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect()
    };
    // Found is what the file had; what it has now stands beside it.
    assert_eq!((codes("findings"), codes("found_in_output")), (vec!["BN009", "BN010"], vec!["BN010"]), "{report:#}");
    assert_eq!((codes("fixed"), codes("left")), (vec!["BN009"], vec!["BN010"]));
    assert_eq!((&report["fixed"][0]["layer"], &report["left"][0]["layer"]), (&json!("bn1"), &json!("bn2")));
    assert!(report["left"][0]["reason"].as_str().unwrap().contains("at their start"), "{report:#}");
    // What helps is to be done to the new file.
    let command = report["left"][0]["command"].as_str().unwrap();
    assert_eq!(command, "batchnorm recalibrate out.onnx out.recalibrated.onnx --data data.npy");
    let found = crate::json(folder.path(), "out.onnx", &[]);
    assert_eq!(found["findings"], report["found_in_output"]);
    assert_eq!(found["batch_norms"][0]["mode"], "inference");
}

#[test]
fn people_are_shown_the_same_and_the_output_may_be_the_input() {
    let folder = folder();
    let path = folder.path().join("m.onnx");
    fs::write(&path, broken()).unwrap();
    let output = run(folder.path(), &["inspect", "m.onnx", "--fix", "m.onnx"]);
    let shown = done(&output);
    for part in [
        "It had 2 batch norms, 0 foldable; 2 errors.\n",
        "m.onnx has 2 batch norms, 1 foldable; 1 error.\n",
        "\nMended:\n  bn1: BN009 (left in training mode by the export), taken out of training mode",
        "\nLeft:\n  bn2: BN010 (in training mode, without statistics), out of training mode it would do nothing",
        "What to do: compute the statistics on data",
    ] {
        assert!(shown.contains(part), "{shown} lacks {part}");
    }
    let once = fs::read(&path).unwrap();
    let output = run(folder.path(), &["inspect", "m.onnx", "--fix", "m.onnx"]);
    assert!(done(&output).contains("Nothing in it has one right answer: m.onnx is a copy.\n"), "{}", done(&output));
    assert_eq!(fs::read(&path).unwrap(), once);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_build_is_denied_what_is_left() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), broken()).unwrap();
    let output = run(folder.path(), &["inspect", "in.onnx", "--fix", "out.onnx", "--deny", "error"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("out.onnx: 1 finding is a error"), "{}", text(&output.stderr));
    let mut model = healthy();
    set(node_of(&mut model, "bn1"), "training_mode", A::Int(1));
    fs::write(folder.path().join("in.onnx"), model.to_bytes()).unwrap();
    done(&run(folder.path(), &["inspect", "in.onnx", "--fix", "out.onnx", "--deny", "note"]));
    assert_eq!(fs::read(folder.path().join("out.onnx")).unwrap(), healthy().to_bytes());
}

#[test]
fn files_without_a_graph_are_refused_and_nothing_is_written() {
    let folder = folder();
    let file = weights(&[("bn.running_mean", vec![0.5; 2]), ("bn.running_var", vec![2.0; 2])], &[]);
    fs::write(folder.path().join("m.safetensors"), file).unwrap();
    fs::write(folder.path().join("no.onnx"), [0xff; 11]).unwrap();
    fs::write(folder.path().join("m.onnx"), broken()).unwrap();
    let output = run(folder.path(), &["inspect", "m.safetensors", "--fix", "out"]);
    refused(&output, 4, &["m.safetensors", "--fix", "safetensors", "export the network as ONNX"]);
    refused(&run(folder.path(), &["inspect", "no.onnx", "--fix", "out"]), 3, &["no.onnx"]);
    refused(&run(folder.path(), &["inspect", "m.onnx", "--fix", "absent/out"]), 5, &["absent"]);
    for more in ["--github", "--layer=bn1", "--convert=pytorch:keras"] {
        assert_eq!(run(folder.path(), &["inspect", "m.onnx", "--fix", "out", more]).status.code(), Some(2), "{more}");
    }
    assert!(!folder.path().join("out").exists());
}
