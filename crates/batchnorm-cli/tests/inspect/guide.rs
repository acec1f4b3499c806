//! docs/healthy.md, docs/folding.md, docs/recalibrating.md and docs/debugging.md: their commands run, what they show is what these print, and the table has every finding.

use std::path::Path;
use std::process::Command;

use batchnorm_model::health::Code;
use batchnorm_model::onnx::NewAttribute as A;

use crate::{healthy, models, node_of, set, support, weights};

const HEALTHY: &str = include_str!("../../../../docs/healthy.md");
const FOLDING: &str = include_str!("../../../../docs/folding.md");
const RECALIBRATING: &str = include_str!("../../../../docs/recalibrating.md");
const DEBUGGING: &str = include_str!("../../../../docs/debugging.md");

/// The contents of a page's blocks of a kind.
fn blocks(page: &'static str, kind: &str) -> Vec<&'static str> {
    page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

/// The two files that the page names.
fn broken(folder: &Path) {
    let mut model = healthy();
    let tensor = |name: &str, values: [f64; 4]| models::tensor(name, &[4], values.to_vec());
    let mut put = |new: batchnorm_model::onnx::NewTensor| {
        let at = model.graph.initializers.iter().position(|old| old.name == new.name).unwrap();
        model.graph.initializers[at] = new;
    };
    put(tensor("bn1_var", [1.0, -0.5, 2.0, 0.5]));
    put(tensor("bn2_var", [1.0, 0.0, 2.0, 0.5]));
    put(tensor("bn2_gamma", [1.0, 0.0, 2.0, 0.5]));
    model.graph.nodes.push(models::node("Relu", &["y"], &["r"], &[]));
    model.graph.nodes.push(models::norm("bn3", "r", "z"));
    model.graph.nodes.push(models::node("Relu", &["z"], &["out"], &[]));
    model.graph.outputs = vec![models::shapeless("out")];
    model.graph.initializers.extend(models::vectors("bn3", 4));
    for (name, values) in [("bn3_mean", [0.0; 4]), ("bn3_var", [1.0; 4])] {
        let at = model.graph.initializers.iter().position(|old| old.name == name).unwrap();
        model.graph.initializers[at] = tensor(name, values);
    }
    set(node_of(&mut model, "bn3"), "momentum", A::Float(0.1));
    std::fs::write(folder.join("model.onnx"), model.to_bytes()).unwrap();
    let file = weights(
        &[
            ("bn.weight", vec![1.0, 2.0]),
            ("bn.bias", vec![0.0; 2]),
            ("bn.running_mean", vec![0.5; 2]),
            ("bn.running_var", vec![2.0; 2]),
        ],
        &[("bn.num_batches_tracked", 0)],
    );
    std::fs::write(folder.join("weights.safetensors"), file).unwrap();
}

/// Runs a page's commands, and gives the folder and what was printed, in which all that the page shows is.
fn run(page: &'static str, prepare: impl Fn(&Path)) -> (tempfile::TempDir, String) {
    let folder = support::folder();
    prepare(folder.path());
    let program = Path::new(env!("CARGO_BIN_EXE_batchnorm")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut printed = String::new();
    let commands: Vec<&str> = blocks(page, "sh").into_iter().flat_map(str::lines).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        let output =
            Command::new("sh").args(["-c", command]).current_dir(folder.path()).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{command}: {}", support::text(&output.stderr));
        printed += support::text(&output.stdout);
    }
    for shown in blocks(page, "text") {
        assert!(printed.contains(shown), "not printed:\n{shown}\nbut:\n{printed}");
    }
    (folder, printed)
}

#[test]
fn the_commands_of_the_guide_to_health_run() {
    let (folder, printed) = run(HEALTHY, broken);
    assert!(printed.contains("not shipped\n") && folder.path().join("keras.safetensors").exists());
}

#[test]
fn the_commands_of_the_guide_to_folding_run() {
    let (folder, _) = run(FOLDING, |folder| std::fs::write(folder.join("model.onnx"), crate::fold::three()).unwrap());
    for name in ["folded.onnx", "folding.json", "without-norms.onnx"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn the_commands_of_the_guide_to_new_data_run() {
    let (folder, printed) = run(RECALIBRATING, |folder| {
        std::fs::write(folder.join("model.onnx"), crate::recalibrate::classifier_of_pictures()).unwrap();
        crate::recalibrate::put_data(folder, "x.npy", &[60, 3, 9, 9]);
        crate::recalibrate::put_labels(folder, &[0; 60]);
    });
    let of = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(of("back.onnx") == of("model.onnx") && of("one-pass.onnx") != of("adapted.onnx"));
    assert!(printed.contains("2 of 2 batch norms measured on 60 samples") && !of("report.json").is_empty());
}

#[test]
fn the_commands_of_the_guide_to_training_and_use_run() {
    let (folder, printed) = run(DEBUGGING, |folder| {
        crate::gap::put_models(folder);
        std::fs::rename(folder.join("broken.onnx"), folder.join("model.onnx")).unwrap();
        crate::recalibrate::put_labels(folder, &[0; 240]);
    });
    assert!(printed.contains("No gap: none of the 2 batch norms"), "{printed}");
    for name in ["gap.html", "gap.json", "mended.onnx", "fixed.onnx"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn the_guides_table_has_every_finding_as_the_program_says_it() {
    let rows: Vec<&str> = HEALTHY.lines().filter(|line| line.starts_with("| BN")).collect();
    assert_eq!(rows.len(), Code::ALL.len());
    for (row, code) in rows.iter().zip(Code::ALL) {
        let expected = format!("| {code} | {} | {} | ", code.severity(), code.words());
        assert!(row.starts_with(&expected), "{row} does not begin with {expected}");
    }
}
