//! Mends: each gives what is right and leaves every other byte, each refusal says why.
#![allow(missing_docs)]

#[path = "support/generated.rs"]
mod generated;
#[path = "support/run.rs"]
mod run;
mod support;
#[path = "support/thirteen.rs"]
mod thirteen;

use batchnorm_model::file::{ModelFile, Repaired};
use batchnorm_model::health::{Code, Remedy};
use batchnorm_model::numbers::Precision;
use batchnorm_model::onnx::{BatchNorm, Model, NewAttribute as A, NewModel, NewNode, NewTensor, NewValues};
use generated::{difference, generated};
use run::{Array, run};
use support::{ints, model, node, norm, numbers, tensor, vectors, weights};
use thirteen::{bytes, has, with, with_thirteen};

fn repaired(file: &[u8]) -> Repaired {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file).unwrap();
    ModelFile::open(&path).unwrap().repair().unwrap()
}

fn codes(repaired: &Repaired) -> Vec<Option<Code>> {
    repaired.changes.iter().map(|change| change.code).collect()
}

/// Why something was left, where it is the only thing of its code that was.
fn reason(repaired: &Repaired, code: Option<Code>) -> &str {
    let mut all = repaired.left.iter().filter(|left| left.code == code);
    let reason = &all.next().unwrap_or_else(|| panic!("{code:?} in {:?}", repaired.left)).reason;
    assert!(all.next().is_none(), "{:?}", repaired.left);
    reason
}

fn picture(channels: usize) -> Array {
    Array { shape: vec![2, channels, 6, 6], values: numbers(2 * channels * 36, 3) }
}

/// A convolution, a norm and whatever else.
fn conv_norm(opset: i64, more: impl FnOnce(&mut NewModel)) -> Vec<u8> {
    let nodes = vec![node("Conv", &["x", "w"], &["a"], &[("pads", A::Ints(vec![1; 4]))]), norm("bn", "a", "y")];
    let tensors = std::iter::once(weights("w", &[5, 3, 3, 3])).chain(vectors("bn", 5)).collect();
    let mut made = model(opset, &[-1, 3, 6, 6], nodes, tensors);
    more(&mut made);
    made.to_bytes()
}

fn bn(made: &mut NewModel) -> &mut NewNode {
    made.graph.nodes.iter_mut().find(|node| node.name == "bn").unwrap()
}

fn set(made: &mut NewModel, name: &str, of: Precision, values: Vec<f64>) {
    let at = made.graph.initializers.iter().position(|tensor| tensor.name == name).unwrap();
    made.graph.initializers[at].values = NewValues::Floats(of, values);
}

fn training(made: &mut NewModel) {
    bn(made).attributes.push(("training_mode".into(), A::Int(1)));
    bn(made).outputs.extend(["bn_m".into(), "bn_v".into()]);
}

/// A file, what is added to its norm, and the codes of what is then mended.
type Case<'f> = (&'f [u8], Vec<u8>, Vec<Option<Code>>);

#[test]
fn what_was_added_by_mistake_is_taken_off_and_the_file_is_the_one_before() {
    // (The norm is the second node of the graph.)
    const NORM: &[(u32, usize)] = &[(7, 0), (1, 1)];
    let attribute = |name: &str, value: i64| bytes(5, &A::Int(value).to_bytes(name));
    let output = |name: &str| bytes(2, name.as_bytes());
    let (thirteen, marks) = with_thirteen();
    let five: Vec<u8> = ["m", "v", "sm", "sv"].into_iter().flat_map(output).collect();
    let [eight, fifteen] = [8, 15].map(|opset| conv_norm(opset, |_| {}));
    let six = conv_norm(6, |made| bn(made).attributes.push(("is_test".into(), A::Int(1))));
    let spatial = [attribute("spatial", 1), attribute("is_test", 0), attribute("consumed_inputs", 0)].concat();
    let cases: Vec<Case> = vec![
        (&thirteen, five.clone(), vec![Some(Code::LeftInTraining)]),
        (&fifteen, attribute("training_mode", 1), vec![Some(Code::LeftInTraining)]),
        (
            &fifteen,
            [attribute("training_mode", 1), output("m"), output("v")].concat(),
            vec![Some(Code::LeftInTraining)],
        ),
        (&eight, attribute("spatial", 0), vec![Some(Code::SpatialByMistake)]),
        (
            &eight,
            [attribute("spatial", 0), five.clone()].concat(),
            vec![Some(Code::LeftInTraining), Some(Code::SpatialByMistake)],
        ),
        (&fifteen, spatial, vec![None]),
        (&eight, attribute("training_mode", 0), vec![None]),
        (&fifteen, output("m"), vec![None]),
        (&six, five, vec![None]),
        (&fifteen, Vec::new(), vec![]),
    ];
    for (number, (good, more, expected)) in cases.into_iter().enumerate() {
        let broken = with(good, &[(NORM, more)]);
        let repaired = repaired(&broken);
        assert_eq!(codes(&repaired), expected, "{number}");
        assert!(repaired.bytes == good, "{number}");
        assert_eq!((&repaired.left[..], &repaired.after.findings[..]), (&[][..], &[][..]), "{number}");
    }
    assert!(marks.iter().all(|mark| has(&thirteen, mark)));
}

#[test]
fn the_oldest_versions_say_that_they_are_in_use() {
    let file = conv_norm(6, |_| {});
    let repaired = repaired(&file);
    assert_eq!(codes(&repaired), [Some(Code::LeftInTraining)]);
    let model = Model::read(&repaired.bytes).unwrap();
    assert_eq!(model.graph.nodes[1].int("is_test"), Some(1));
    assert!(!BatchNorm::of(&model.graph.nodes[1], 6).unwrap().training);
    assert_eq!(difference(&file, &repaired.bytes, &picture(3)), 0.0);
}

#[test]
fn training_modes_without_one_right_answer_are_explained_and_stay() {
    let start = |made: &mut NewModel| {
        training(made);
        set(made, "bn_mean", Precision::F32, vec![0.0; 5]);
        set(made, "bn_var", Precision::F32, vec![1.0; 5]);
    };
    let never = conv_norm(15, start);
    let instances = conv_norm(15, |made| {
        start(made);
        made.graph.initializers.push(ints("shape", &[1, 5, -1]));
        made.graph.nodes.insert(1, node("Reshape", &["a", "shape"], &["r"], &[]));
        bn(made).inputs[0] = "r".into();
    });
    let given = conv_norm(15, |made| {
        training(made);
        made.graph.outputs.push(support::shapeless("bn_m"));
    });
    let nan = conv_norm(15, |made| {
        training(made);
        set(made, "bn_var", Precision::F32, vec![f64::NAN; 5]);
    });
    let inside = conv_norm(15, |made| {
        training(made);
        let branch = made.graph.clone();
        bn(made).attributes.clear();
        bn(made).outputs.truncate(1);
        bn(made).name = "other".into();
        made.graph.nodes.push(node("If", &["x"], &["z"], &[("then_branch", A::Graph(Box::new(branch)))]));
    });
    for (file, code, expected) in [
        (never, Code::NeverTracked, "at their start"),
        (instances, Code::TrainingOfInstances, "InstanceNormalization"),
        (given, Code::LeftInTraining, "gives the batch's statistics to others"),
        (nan, Code::LeftInTraining, "not sound"),
        (inside, Code::LeftInTraining, "inside then_branch of If z"),
    ] {
        let repaired = repaired(&file);
        assert_eq!(codes(&repaired), [], "{code}");
        assert!(reason(&repaired, Some(code)).contains(expected), "{:?}", repaired.left);
        assert!(repaired.left.iter().all(|left| left.mend.remedy != Some(Remedy::Fix)), "{:?}", repaired.left);
        assert!(repaired.bytes == file, "{code}");
    }
}

/// Weights that are standardised: between two nodes that shape them anew, a norm in training mode.
fn standardised(more: impl FnOnce(&mut NewModel)) -> Vec<u8> {
    let nodes = vec![
        node("Reshape", &["w", "rows"], &["r"], &[]),
        NewNode {
            attributes: vec![("training_mode".into(), A::Int(1)), ("epsilon".into(), A::Float(1e-3))],
            ..norm("bn", "r", "s")
        },
        node("Reshape", &["s", "back"], &["sw"], &[]),
        node("Conv", &["x", "sw"], &["y"], &[("pads", A::Ints(vec![1; 4]))]),
    ];
    let shapes = [ints("rows", &[1, 5, -1]), ints("back", &[5, 3, 3, 3])];
    let tensors = std::iter::once(weights("w", &[5, 3, 3, 3])).chain(shapes).chain(vectors("bn", 5)).collect();
    let mut made = model(15, &[-1, 3, 6, 6], nodes, tensors);
    more(&mut made);
    made.to_bytes()
}

fn values(tensor: &NewTensor) -> &[f64] {
    let NewValues::Floats(_, values) = &tensor.values else { panic!() };
    values
}

#[test]
fn a_norm_of_constants_is_computed_once() {
    // By the formula, a row of weights at a time.
    let [w, vectors] = [vec![weights("w", &[5, 3, 3, 3])], vectors("bn", 5)];
    let (gamma, beta) = (values(&vectors[0]), values(&vectors[1]));
    let single = |number: f64| f64::from(number as f32);
    let rows = values(&w[0]).chunks(27).enumerate().flat_map(|(row, weights)| {
        let weights: Vec<f64> = weights.iter().copied().map(single).collect();
        let mean = weights.iter().sum::<f64>() / 27.0;
        let variance = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / 27.0;
        let (gamma, beta, epsilon) = (single(gamma[row]), single(beta[row]), single(1e-3));
        weights.into_iter().map(move |weight| gamma * (weight - mean) / (variance + epsilon).sqrt() + beta)
    });
    let expected: Vec<f64> = rows.collect();
    let plain = model(
        15,
        &[-1, 3, 6, 6],
        vec![node("Conv", &["x", "sw"], &["y"], &[("pads", A::Ints(vec![1; 4]))])],
        vec![tensor("sw", &[5, 3, 3, 3], expected)],
    );
    let repaired = repaired(&standardised(|_| {}));
    assert_eq!(codes(&repaired), [Some(Code::TrainingOfConstants)]);
    assert!(repaired.after.layers.is_empty() && repaired.left.is_empty());
    let read = Model::read(&repaired.bytes).unwrap();
    assert_eq!(read.graph.nodes.iter().map(|node| node.operator).collect::<Vec<_>>(), ["Conv"]);
    assert_eq!(read.graph.initializers.iter().map(|tensor| tensor.name).collect::<Vec<_>>(), ["sw"]);
    assert!(difference(&plain.to_bytes(), &repaired.bytes, &picture(3)) < 1e-7);
}

/// A change of a model to be made.
type Change = Box<dyn FnOnce(&mut NewModel)>;

#[test]
fn what_others_take_of_a_norm_of_constants_stays() {
    // The weights as they were, the reshaped ones, and the norm's own output are taken elsewhere too.
    let others = |made: &mut NewModel| {
        made.graph.nodes.push(node("Conv", &["x", "w"], &["z"], &[]));
        made.graph.nodes.push(node("Relu", &["r"], &["r2"], &[]));
        made.graph.outputs.extend(["z", "r2", "s"].map(support::shapeless));
    };
    let repaired = repaired(&standardised(others));
    let read = Model::read(&repaired.bytes).unwrap();
    let operators: Vec<&str> = read.graph.nodes.iter().map(|node| node.operator).collect();
    assert_eq!(operators, ["Reshape", "Reshape", "Conv", "Conv", "Relu"]);
    let names: Vec<&str> = read.graph.initializers.iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["w", "rows", "back", "s"]);
    let scaled = |made: &mut NewModel| {
        made.graph.nodes.insert(0, node("Mul", &["w", "bn_gamma"], &["w2"], &[]));
        made.graph.nodes[1].inputs[0] = "w2".into();
    };
    let infinite = |made: &mut NewModel| set(made, "bn_gamma", Precision::F32, vec![f64::INFINITY; 5]);
    let others: [(Change, &str); 4] = [
        (Box::new(scaled), "its input comes from Mul w2"),
        (Box::new(infinite), "not finite as f32"),
        (Box::new(|made| made.graph.initializers[1] = ints("rows", &[1, 27, 5])), "another length"),
        (Box::new(|made| made.graph.initializers[1] = ints("rows", &[1, 5, 28])), "shape that Reshape r gives"),
    ];
    for (change, expected) in others {
        let file = standardised(change);
        let repaired = crate::repaired(&file);
        assert!(reason(&repaired, Some(Code::TrainingOfConstants)).contains(expected), "{:?}", repaired.left);
        assert!(repaired.bytes == file);
    }
}

#[test]
fn statistics_of_each_position_are_left_as_they_are() {
    let of = |opset: i64, spatial: i64, length: usize| {
        let nodes = vec![NewNode { attributes: vec![("spatial".into(), A::Int(spatial))], ..norm("bn", "x", "y") }];
        model(opset, &[-1, 3, 6, 6], nodes, vectors("bn", length)).to_bytes()
    };
    let meant = repaired(&of(8, 0, 3 * 36));
    assert_eq!((codes(&meant), meant.left.len()), (vec![], 0));
    let later = repaired(&of(11, 0, 3));
    assert!(reason(&later, None).contains("version 11 of the operators has no spatial 0"));
    let open = {
        let mut made = model(8, &[-1, 3, 6, 6], vec![], vectors("bn", 3));
        made.graph.nodes.push(node("Relu", &["x"], &["a"], &[]));
        made.graph.nodes.push(NewNode { attributes: vec![("spatial".into(), A::Int(0))], ..norm("bn", "a", "y") });
        made.to_bytes()
    };
    assert!(reason(&repaired(&open), Some(Code::SpatialByMistake)).contains("how many channels there are"));
}

#[test]
fn halves_become_singles_where_the_version_has_that() {
    let halves = |of: Precision, mean: f64, variance: f64| {
        move |made: &mut NewModel| {
            set(made, "bn_mean", of, vec![mean, 0.5, 0.25, 3.0, -1.5]);
            set(made, "bn_var", of, vec![variance, 0.5, 0.25, 3.0, 1.5]);
        }
    };
    for of in [Precision::F16, Precision::Bf16] {
        let file = conv_norm(15, halves(of, 0.1, 0.7));
        let repaired = repaired(&file);
        assert_eq!(codes(&repaired), [None]);
        assert!(repaired.left.is_empty() && repaired.changes[0].text.contains(&of.to_string()));
        assert_eq!(difference(&file, &repaired.bytes, &picture(3)), 0.0);
        assert_eq!(repaired.after.layers[0].summary.as_ref().unwrap().precision, Precision::F32);
    }
    let old = repaired(&conv_norm(13, halves(Precision::F16, 0.1, 0.7)));
    assert!(old.changes.is_empty() && reason(&old, None).contains("before version 14"));
    for (mean, variance, code) in [
        (0.1, 0.0, Code::NoVariance),
        (65_504.0, 0.7, Code::HalfAtItsLimits),
        (0.1, f64::INFINITY, Code::NotFinite),
        (0.1, -0.5, Code::NegativeVariance),
    ] {
        let repaired = repaired(&conv_norm(15, halves(Precision::F16, mean, variance)));
        assert!(repaired.changes.is_empty(), "{code}: {:?}", repaired.changes);
        assert!(reason(&repaired, Some(code)).contains("not in the file"));
    }
    // Two norms with the same vectors have the same ones afterwards; in old files they are inputs too.
    let mut shared = conv_norm(15, |made| {
        halves(Precision::F16, 0.1, 0.7)(made);
        made.graph.nodes[1].outputs[0] = "b".into();
        made.graph.nodes.push(NewNode { name: "two".into(), ..norm("bn", "b", "y") });
    });
    (shared[0], shared[1]) = (8, 3);
    let repaired = repaired(&shared);
    let read = Model::read(&repaired.bytes).unwrap();
    let [one, two] = [1, 2].map(|at| read.graph.nodes[at].inputs[3..].iter().map(|name| name.text).collect::<Vec<_>>());
    assert_eq!((repaired.changes.len(), one), (2, two));
    let inputs: Vec<&str> = read.graph.inputs.iter().map(|value| value.name).collect();
    assert_eq!((read.graph.initializers.len(), inputs), (5, vec!["x", "bn_mean_2", "bn_var_2"]));
}

fn biased(opset: i64, more: impl FnOnce(&mut NewModel)) -> Vec<u8> {
    conv_norm(opset, |made| {
        made.graph.initializers.push(weights("bias", &[5]));
        made.graph.nodes[0].inputs.push("bias".into());
        more(made);
    })
}

#[test]
fn useless_biases_go_into_the_mean() {
    let gemm = |opset: i64, bias: &[usize]| {
        let nodes = vec![node("Gemm", &["x", "w", "bias"], &["a"], &[("beta", A::Float(3.0))]), norm("bn", "a", "y")];
        let tensors = [weights("w", &[6, 5]), weights("bias", bias)].into_iter().chain(vectors("bn", 5)).collect();
        model(opset, &[-1, 6], nodes, tensors).to_bytes()
    };
    let transposed = {
        let nodes = vec![node("ConvTranspose", &["x", "w", "bias"], &["a"], &[]), norm("bn", "a", "y")];
        let tensors =
            [weights("w", &[3, 5, 3, 3]), weights("bias", &[5])].into_iter().chain(vectors("bn", 5)).collect();
        model(15, &[-1, 3, 6, 6], nodes, tensors).to_bytes()
    };
    let rows = Array { shape: vec![4, 6], values: numbers(24, 3) };
    let both = biased(15, |made| {
        training(made);
        for (name, values) in [("bn_mean", vec![0.5; 5]), ("bn_var", vec![2.0; 5])] {
            set(made, name, Precision::F16, values);
        }
    });
    for (file, input, changes) in [
        (biased(9, |_| {}), picture(3), 1),
        (transposed, picture(3), 1),
        (gemm(11, &[5]), rows.clone(), 1),
        (gemm(11, &[1, 5]), rows.clone(), 1),
        (gemm(11, &[1]), rows, 1),
        (both, picture(3), 3),
    ] {
        let repaired = repaired(&file);
        assert_eq!(repaired.changes.len(), changes, "{:?} {:?}", repaired.changes, repaired.left);
        assert!(repaired.changes.iter().any(|change| change.code == Some(Code::UselessBias)));
        assert!(repaired.left.is_empty() && repaired.after.findings.is_empty(), "{:?}", repaired.left);
        let read = Model::read(&repaired.bytes).unwrap();
        assert_eq!((read.graph.nodes[0].inputs.len(), read.graph.initializers.len()), (2, 5));
        let difference = difference(&file, &repaired.bytes, &input);
        assert!(difference < 1e-6, "{difference:e}");
    }
    let taken = |made: &mut NewModel| made.graph.outputs.push(support::shapeless("a"));
    let shared = |made: &mut NewModel| {
        made.graph.nodes.push(norm("bn", "y", "z"));
        made.graph.outputs.push(support::shapeless("z"));
    };
    let recalibrated = |made: &mut NewModel| made.metadata = vec![("batchnorm.statistics_before".into(), "{}".into())];
    for (file, expected) in [
        (biased(15, taken), "something else takes the output of Conv a"),
        (biased(15, shared), "others have the same mean"),
        (biased(15, recalibrated), "--rollback"),
        (gemm(9, &[5]), "before version 11"),
        (gemm(11, &[4, 5]), "one number for each channel"),
    ] {
        let repaired = repaired(&file);
        assert!(reason(&repaired, Some(Code::UselessBias)).contains(expected), "{:?}", repaired.left);
        assert!(repaired.bytes == file);
    }
}

/// `GRAPHS=10000 cargo test --release -p batchnorm-model --test repair generated -- --nocapture`.
#[test]
fn generated_graphs_give_the_same() {
    let count: u64 = std::env::var("GRAPHS").ok().map_or(200, |count| count.parse().expect("a number of graphs"));
    let (mut mended, mut left, mut worst) = (0, std::collections::BTreeMap::new(), 0.0f64);
    for seed in 0..count {
        let (mut made, input) = generated(seed);
        // (Left in training mode; the plain loops go by the statistics all the same.)
        let is_named = made.opset >= 14;
        let norm = made.graph.nodes.iter_mut().find(|node| node.operator == "BatchNormalization").unwrap();
        norm.outputs.extend(["batch_m".into(), "batch_v".into()]);
        if is_named {
            norm.attributes.push(("training_mode".into(), A::Int(1)));
        }
        let file = made.to_bytes();
        let repaired = repaired(&file);
        mended += repaired.changes.len();
        for one in &repaired.left {
            *left.entry(format!("{:?}: {}", one.code, one.reason)).or_insert(0) += 1;
        }
        let difference = difference(&file, &repaired.bytes, &input);
        assert!(difference < 2e-6, "seed {seed}: {difference:e} of the largest output, {:?}", repaired.changes);
        assert!(codes(&repaired).contains(&Some(Code::LeftInTraining)), "seed {seed}: {:?}", repaired.left);
        worst = worst.max(difference);
    }
    println!(
        "{count} graphs of the seeds 0..{count}: {mended} mends; the largest difference {worst:.1e}; left: {left:#?}"
    );
    assert!(mended as u64 > count, "only {mended}");
}

#[test]
fn twice_is_once() {
    let once = repaired(&biased(15, training));
    let twice = repaired(&once.bytes);
    assert!(codes(&once).len() == 2 && twice.changes.is_empty() && twice.bytes == once.bytes);
    assert_eq!(run(&once.bytes, &picture(3)).len(), 1);
}
