//! Which batch norms can be folded, and why others cannot: each form that folding takes, and beside it what makes it impossible.
#![allow(missing_docs)]

mod support;

use batchnorm_model::file::{Inspection, ModelFile};
use batchnorm_model::foldable::{Side, Verdict};
use batchnorm_model::layer::Layer;
use batchnorm_model::onnx::{NewAttribute as A, NewModel, NewNode, NewTensor};
use support::{ints, model, node, norm, numbers, scaling, tensor, vectors, weights};

fn inspect(model: &NewModel) -> Inspection {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.to_bytes()).unwrap();
    ModelFile::open(&path).unwrap().inspect().unwrap()
}

/// In a word: where it goes, or why it stays.
fn word(layer: &Layer) -> String {
    match layer.verdict.as_ref().unwrap() {
        Verdict::Foldable(fold) => {
            format!("{} {}", fold.target, if fold.side == Side::Behind { "behind" } else { "before" })
        }
        Verdict::Kept(reason) => reason.word().to_owned(),
    }
}

fn words(model: &NewModel) -> Vec<String> {
    inspect(model).layers.iter().map(word).collect()
}

/// A norm named `bn` behind some nodes, which end in `a`, and more nodes behind it, from `b` on to `y`.
fn case(
    opset: i64,
    input: &[i64],
    before: Vec<NewNode>,
    channels: usize,
    behind: Vec<NewNode>,
    tensors: Vec<NewTensor>,
) -> NewModel {
    let to = if behind.is_empty() { "y" } else { "b" };
    let from = if before.is_empty() { "x" } else { "a" };
    let nodes = before.into_iter().chain([norm("bn", from, to)]).chain(behind).collect();
    model(opset, input, nodes, tensors.into_iter().chain(vectors("bn", channels)).collect())
}

fn conv(from: &str, to: &str, attributes: &[(&str, A)]) -> NewNode {
    node("Conv", &[from, "w", "c"], &[to], attributes)
}

fn relu() -> NewNode {
    node("Relu", &["b"], &["y"], &[])
}

#[test]
fn behind_convolutions_of_any_rank_and_groups() {
    for (input, weight, attributes) in [
        (&[-1, 3, 9][..], &[5, 3, 3][..], vec![]),
        (&[-1, 3, 9, 9], &[5, 3, 3, 3], vec![("pads", A::Ints(vec![1; 4]))]),
        (&[-1, 3, 5, 5, 5], &[5, 3, 3, 3, 3], vec![]),
        (&[-1, 5, 9, 9], &[5, 1, 3, 3], vec![("group", A::Int(5))]),
        (&[-1, 10, 9, 9], &[5, 2, 3, 3], vec![("group", A::Int(5))]),
    ] {
        let tensors = vec![weights("w", weight), weights("c", &[5])];
        let model = case(13, input, vec![conv("x", "a", &attributes)], 5, vec![relu()], tensors);
        assert_eq!(words(&model), ["Conv behind"], "{weight:?}");
    }
}

#[test]
fn behind_transposed_convolutions_with_groups() {
    for (weight, group, channels) in
        [(&[4, 3, 2, 2][..], 1, 3), (&[4, 3, 2, 2], 2, 6), (&[4, 1, 2, 2], 4, 4), (&[4, 2, 3], 1, 2)]
    {
        let transposed = node("ConvTranspose", &["x", "w"], &["a"], &[("group", A::Int(group))]);
        let input: Vec<i64> = [-1, 4].into_iter().chain(vec![8; weight.len() - 2]).collect();
        let model = case(13, &input, vec![transposed], channels, vec![relu()], vec![weights("w", weight)]);
        assert_eq!(words(&model), ["ConvTranspose behind"], "{weight:?} {group}");
    }
}

#[test]
fn behind_gemm_and_matmul_with_and_without_a_bias() {
    let gemm = |attributes: &[(&str, A)]| node("Gemm", &["x", "w", "c"], &["a"], attributes);
    let tensors = || vec![weights("w", &[4, 6]), weights("c", &[6])];
    assert_eq!(words(&case(13, &[-1, 4], vec![gemm(&[])], 6, vec![relu()], tensors())), ["Gemm behind"]);
    let turned = vec![weights("w", &[6, 4]), weights("c", &[6])];
    assert_eq!(words(&case(13, &[-1, 4], vec![gemm(&[("transB", A::Int(1))])], 6, vec![], turned)), ["Gemm behind"]);
    let rows = vec![weights("w", &[4, 6]), weights("c", &[3, 1])];
    assert_eq!(words(&case(13, &[3, 4], vec![gemm(&[])], 6, vec![relu()], rows)), ["weights"]);
    let product = node("MatMul", &["x", "w"], &["p"], &[]);
    for add in [["p", "c"], ["c", "p"]] {
        let nodes = vec![product.clone(), node("Add", &add, &["a"], &[])];
        assert_eq!(words(&case(13, &[-1, 4], nodes, 6, vec![relu()], tensors())), ["MatMul behind"], "{add:?}");
    }
    let alone = vec![node("MatMul", &["x", "w"], &["a"], &[])];
    assert_eq!(words(&case(13, &[-1, 4], alone.clone(), 6, vec![relu()], tensors())), ["MatMul behind"]);
    // The second axis of three is no column.
    assert_eq!(words(&case(13, &[-1, 6, 4], alone.clone(), 6, vec![relu()], tensors())), ["channels"]);
    let mut unknown = case(13, &[-1, 4], alone, 6, vec![relu()], tensors());
    unknown.graph.inputs = vec![support::shapeless("x")];
    assert_eq!(words(&unknown), ["axes"]);
    // What is added is a number for each example.
    let nodes = vec![product, node("Add", &["p", "c"], &["a"], &[])];
    let rows = vec![weights("w", &[4, 6]), weights("c", &[3, 1])];
    assert_eq!(words(&case(13, &[3, 4], nodes, 6, vec![relu()], rows)), ["weights"]);
}

#[test]
fn before_convolutions_that_do_not_pad_and_before_matrices() {
    let of = |attributes: &[(&str, A)], scaling_alone: bool| {
        let last = node("Conv", &["b", "w"], &["y"], attributes);
        let mut model = case(
            13,
            &[-1, 4, 9, 9],
            vec![node("Relu", &["x"], &["a"], &[])],
            4,
            vec![last],
            vec![weights("w", &[5, 4, 3, 3])],
        );
        if scaling_alone {
            model.graph.initializers.truncate(1);
            model.graph.initializers.extend(scaling("bn", 4));
        }
        words(&model)
    };
    assert_eq!(of(&[], false), ["Conv before"]);
    assert_eq!(of(&[("pads", A::Ints(vec![0; 4]))], false), ["Conv before"]);
    assert_eq!(of(&[("pads", A::Ints(vec![0, 0, 1, 0]))], false), ["padding"]);
    assert_eq!(of(&[("auto_pad", A::Text("SAME_UPPER".into()))], false), ["padding"]);
    assert_eq!(of(&[("auto_pad", A::Text("VALID".into()))], false), ["Conv before"]);
    assert_eq!(of(&[("pads", A::Ints(vec![1; 4]))], true), ["Conv before"]);
    let grouped = node("Conv", &["b", "w"], &["y"], &[("group", A::Int(2))]);
    let grouped = case(13, &[-1, 4, 9, 9], vec![], 4, vec![grouped], vec![weights("w", &[6, 2, 3, 3])]);
    assert_eq!(words(&grouped), ["Conv before"]);
    let transposed = node("ConvTranspose", &["b", "w"], &["y"], &[]);
    let edges = case(13, &[-1, 4, 9, 9], vec![], 4, vec![transposed], vec![weights("w", &[4, 2, 3, 3])]);
    assert_eq!(words(&edges), ["edges"]);
    let gemm = case(13, &[-1, 4], vec![], 4, vec![node("Gemm", &["b", "w"], &["y"], &[])], vec![weights("w", &[4, 6])]);
    assert_eq!(words(&gemm), ["Gemm before"]);
    let matmul = |input: &[i64]| {
        case(13, input, vec![], 4, vec![node("MatMul", &["b", "w"], &["y"], &[])], vec![weights("w", &[4, 6])])
    };
    assert_eq!(words(&matmul(&[-1, 4])), ["MatMul before"]);
    assert_eq!(words(&matmul(&[-1, 4, 4])), ["channels"]);
}

#[test]
fn through_nodes_that_leave_channels_to_themselves() {
    let through = |nodes: Vec<NewNode>, extra: Vec<NewTensor>| {
        let tensors = vec![weights("w", &[5, 3, 3, 3]), weights("c", &[5])].into_iter().chain(extra).collect();
        let before = [conv("x", "p", &[])].into_iter().chain(nodes).collect();
        words(&case(13, &[-1, 3, 3, 3], before, 5, vec![relu()], tensors))
    };
    assert_eq!(through(vec![node("Identity", &["p"], &["a"], &[])], vec![]), ["Conv behind"]);
    assert_eq!(through(vec![node("Dropout", &["p"], &["a"], &[])], vec![]), ["Conv behind"]);
    let training = vec![node("Dropout", &["p", "", "training"], &["a"], &[])];
    assert_eq!(through(training, vec![ints("training", &[1])]), ["neighbours"]);
    assert_eq!(through(vec![node("Flatten", &["p"], &["a"], &[])], vec![]), ["Conv behind"]);
    assert_eq!(through(vec![node("Flatten", &["p"], &["a"], &[("axis", A::Int(2))])], vec![]), ["moves"]);
    let reshape = |shape: &[i64]| through(vec![node("Reshape", &["p", "s"], &["a"], &[])], vec![ints("s", shape)]);
    for shape in [&[0, 5][..], &[0, -1], &[0, 0, -1], &[0, 5, 1, 1], &[0, 0, 1]] {
        assert_eq!(reshape(shape), ["Conv behind"], "{shape:?}");
    }
    for shape in [&[-1, 5][..], &[1, 5, -1], &[-1, 5, 1], &[5, 0], &[-1]] {
        assert_eq!(reshape(shape), ["moves"], "{shape:?}");
    }
    let pad = |pads: &[i64], mode: &str| {
        through(vec![node("Pad", &["p", "s"], &["a"], &[("mode", A::Text(mode.into()))])], vec![ints("s", pads)])
    };
    assert_eq!(pad(&[0, 0, 1, 1, 0, 0, 1, 1], "constant"), ["padding"]);
    assert_eq!(pad(&[0, 0, 1, 1, 0, 0, 1, 1], "edge"), ["Conv behind"]);
    assert_eq!(pad(&[0, 0, 0, 0, 0, 0, 0, 0], "constant"), ["Conv behind"]);
    assert_eq!(pad(&[0, 1, 0, 0, 0, 0, 0, 0], "edge"), ["moves"]);
    let unsqueeze = vec![node("Unsqueeze", &["p", "s"], &["a"], &[])];
    assert_eq!(through(unsqueeze.clone(), vec![ints("s", &[4])]), ["Conv behind"]);
    assert_eq!(through(unsqueeze, vec![ints("s", &[1])]), ["moves"]);
}

#[test]
fn a_row_of_each_example_between_a_norm_and_a_matrix() {
    let through = |nodes: Vec<NewNode>, extra: Vec<NewTensor>| {
        let behind = nodes.into_iter().chain([node("Gemm", &["f", "w"], &["y"], &[])]).collect();
        words(&case(13, &[-1, 4, 3, 3], vec![], 4, behind, [weights("w", &[36, 7])].into_iter().chain(extra).collect()))
    };
    assert_eq!(through(vec![node("Flatten", &["b"], &["f"], &[])], vec![]), ["Gemm before"]);
    assert_eq!(
        through(vec![node("Dropout", &["b"], &["d"], &[]), node("Flatten", &["d"], &["f"], &[])], vec![]),
        ["Gemm before"]
    );
    let reshape = |shape: &[i64]| through(vec![node("Reshape", &["b", "s"], &["f"], &[])], vec![ints("s", shape)]);
    assert_eq!(reshape(&[0, -1]), ["Gemm before"]);
    assert_eq!(reshape(&[0, 36]), ["Gemm before"]);
    assert_eq!(reshape(&[-1, 36]), ["moves"]);
    // view(x.size(0), -1), as it was exported: the length of an axis, joined with -1.
    let view = vec![
        node("Shape", &["b"], &["shape"], &[]),
        node("Gather", &["shape", "zero"], &["n"], &[]),
        node("Unsqueeze", &["n", "zero"], &["n1"], &[]),
        node("Concat", &["n1", "rest"], &["s"], &[("axis", A::Int(0))]),
        node("Reshape", &["b", "s"], &["f"], &[]),
    ];
    assert_eq!(through(view, vec![ints("zero", &[0]), ints("rest", &[-1])]), ["Gemm before"]);
}

#[test]
fn a_norm_behind_a_norm_and_norms_on_both_sides() {
    let nodes =
        vec![conv("x", "a", &[]), norm("one", "a", "b"), norm("two", "b", "c1"), node("Relu", &["c1"], &["y"], &[])];
    let tensors: Vec<NewTensor> = [weights("w", &[5, 3, 3, 3]), weights("c", &[5])]
        .into_iter()
        .chain(vectors("one", 5))
        .chain(vectors("two", 5))
        .collect();
    assert_eq!(words(&model(13, &[-1, 3, 9, 9], nodes, tensors.clone())), ["Conv behind", "BatchNormalization behind"]);
    let nodes = vec![norm("zero", "x", "x1"), conv("x1", "a", &[]), norm("one", "a", "y")];
    let tensors = tensors.into_iter().chain(vectors("zero", 3)).collect();
    assert_eq!(words(&model(13, &[-1, 3, 9, 9], nodes, tensors)), ["Conv before", "Conv behind"]);
}

#[test]
fn weights_and_parameters_wherever_constants_are() {
    let constant = |name: &str, tensor: NewTensor| node("Constant", &[], &[name], &[("value", A::Tensor(tensor))]);
    let mut nodes =
        vec![constant("w", weights("", &[5, 3, 3, 3])), node("Identity", &["c0"], &["c"], &[]), conv("x", "a", &[])];
    let [gamma, beta, ..]: [NewTensor; 4] = vectors("bn", 5).try_into().unwrap();
    nodes.push(constant("bn_gamma", gamma));
    nodes.push(node("Identity", &["beta"], &["bn_beta"], &[]));
    let one = tensor("", &[1], vec![1.0]);
    nodes.push(node("ConstantOfShape", &["five"], &["bn_var"], &[("value", A::Tensor(one))]));
    nodes.push(node("Constant", &[], &["bn_mean"], &[("value_floats", A::Floats(vec![0.5; 5]))]));
    nodes.extend([norm("bn", "a", "b"), relu()]);
    let tensors = vec![weights("c0", &[5]), NewTensor { name: "beta".into(), ..beta }, ints("five", &[5])];
    let inspection = inspect(&model(13, &[-1, 3, 9, 9], nodes, tensors));
    assert_eq!(word(&inspection.layers[0]), "Conv behind");
    let summary = inspection.layers[0].summary.as_ref().unwrap();
    assert_eq!((summary.channels, summary.mean, summary.variance), (5, Some([0.5; 2]), Some([1.0; 2])));
}

#[test]
fn what_stays_and_why() {
    let tensors = || vec![weights("w", &[5, 3, 3, 3]), weights("c", &[5])];
    let plain = case(13, &[-1, 3, 9, 9], vec![conv("x", "a", &[])], 5, vec![relu()], tensors());
    assert_eq!(words(&plain), ["Conv behind"]);
    // The layer's output is used elsewhere, or given out.
    let mut shared = plain.clone();
    shared.graph.nodes.push(node("Sigmoid", &["a"], &["z"], &[]));
    assert_eq!(words(&shared), ["shared"]);
    let mut given = plain.clone();
    given.graph.outputs.push(support::shapeless("a"));
    assert_eq!(words(&given), ["shared"]);
    let mut inner = plain.clone();
    let branch = support::model(13, &[], vec![node("Relu", &["a"], &["r"], &[])], vec![]).graph;
    let branch = batchnorm_model::onnx::NewGraph { inputs: vec![], outputs: vec![support::shapeless("r")], ..branch };
    let both = ["then_branch", "else_branch"].map(|name| (name, A::Graph(Box::new(branch.clone()))));
    inner.graph.nodes.push(node("If", &["x"], &["z"], &both));
    assert_eq!(words(&inner), ["shared"]);
    // Weights that are computed.
    let mut computed = plain.clone();
    computed.graph.initializers[0].name = "w0".into();
    computed.graph.nodes.insert(0, node("Relu", &["w0"], &["w"], &[]));
    assert_eq!(words(&computed), ["weights"]);
    let mut codes = plain.clone();
    codes.graph.initializers[0].name = "w0".into();
    codes.graph.nodes.insert(0, node("DequantizeLinear", &["w0", "c"], &["w"], &[]));
    assert_eq!(words(&codes), ["quantised"]);
    // Between the two: something that is not linear, or codes.
    for (operator, why) in [("Relu", "neighbours"), ("QuantizeLinear", "quantised"), ("Transpose", "neighbours")] {
        let mut between = plain.clone();
        between.graph.nodes[0].outputs = vec!["p".into()];
        between.graph.nodes.insert(1, node(operator, &["p"], &["a"], &[]));
        assert_eq!(words(&between), [why], "{operator}");
    }
    // By the batch; by position.
    let mut training = plain.clone();
    training.opset = 15;
    training.graph.nodes[1].attributes.push(("training_mode".into(), A::Int(1)));
    assert_eq!(words(&training), ["training"]);
    let mut old = plain.clone();
    old.opset = 6;
    assert_eq!(words(&old), ["training"]);
    old.graph.nodes[1].attributes.push(("is_test".into(), A::Int(1)));
    assert_eq!(words(&old), ["Conv behind"]);
    old.graph.nodes[1].attributes.push(("spatial".into(), A::Int(0)));
    assert_eq!(words(&old), ["by-position"]);
    // Statistics that are given out, by a version that gives none in use.
    let mut more = plain.clone();
    more.opset = 15;
    more.graph.nodes[1].outputs.push("mean".into());
    assert_eq!(words(&more), ["statistics"]);
    // Parameters that are no constants, of several lengths, or not finite; channels that are not the layer's.
    let mut input = plain.clone();
    input.graph.initializers.retain(|tensor| tensor.name != "bn_mean");
    input.graph.inputs.push(support::value("bn_mean", &[5]));
    assert_eq!(words(&input), ["parameters"]);
    let with = |at: usize, new: NewTensor| {
        let mut model = plain.clone();
        model.graph.initializers[2 + at] = new;
        words(&model)
    };
    assert_eq!(with(3, tensor("bn_var", &[4], vec![1.0; 4])), ["parameters"]);
    assert_eq!(with(3, tensor("bn_var", &[5], vec![1.0, 2.0, f64::NAN, 1.0, 1.0])), ["parameters"]);
    assert_eq!(with(3, tensor("bn_var", &[5], vec![-1.0; 5])), ["parameters"]);
    let four = case(13, &[-1, 3, 9, 9], vec![conv("x", "a", &[])], 4, vec![relu()], tensors());
    assert_eq!(words(&four), ["channels"]);
    // Conv - Relu - norm, as networks have it that normalise behind the activation.
    let behind = case(
        13,
        &[-1, 3, 9, 9],
        vec![conv("x", "p", &[]), node("Relu", &["p"], &["a"], &[])],
        5,
        vec![node("MaxPool", &["b"], &["y"], &[])],
        tensors(),
    );
    let inspection = inspect(&behind);
    let Some(Verdict::Kept(reason)) = &inspection.layers[0].verdict else { panic!("{:?}", inspection.layers[0]) };
    assert_eq!(reason.to_string(), "no linear layer beside it: it stands behind Relu, and its output goes to MaxPool");
}

#[test]
fn norms_inside_other_graphs_and_functions_are_listed_and_stay() {
    use batchnorm_model::onnx::{NewFunction, NewGraph};
    let branch = NewGraph {
        name: "branch".into(),
        nodes: vec![norm("inner", "x", "r")],
        initializers: vectors("inner", 3),
        outputs: vec![support::shapeless("r")],
        ..NewGraph::default()
    };
    let both = ["then_branch", "else_branch"].map(|name| (name, A::Graph(Box::new(branch.clone()))));
    let mut model = model(13, &[-1, 3, 9, 9], vec![node("If", &["x"], &["z"], &both)], vec![]);
    let call = NewNode { domain: "own".into(), ..node("Norm", &["z", "g", "b", "m", "v"], &["y"], &[]) };
    model.graph.nodes.push(call);
    model.graph.initializers = ["g", "b", "m", "v"].iter().map(|name| tensor(name, &[3], numbers(3, 5))).collect();
    let inside = node("BatchNormalization", &["i", "g", "b", "m", "v"], &["o"], &[]);
    model.functions = vec![NewFunction {
        name: "Norm".into(),
        domain: "own".into(),
        inputs: ["i", "g", "b", "m", "v"].map(String::from).to_vec(),
        outputs: vec!["o".into()],
        nodes: vec![inside],
    }];
    let inspection = inspect(&model);
    let listed: Vec<(&str, &str, bool)> = inspection
        .layers
        .iter()
        .map(|layer| (&*layer.name, layer.inside.as_deref().unwrap(), layer.summary.is_ok()))
        .collect();
    assert_eq!(
        listed,
        [("inner", "then_branch of If z", true), ("inner", "else_branch of If z", true), ("o", "function Norm", false)]
    );
    assert!(inspection.layers.iter().all(|layer| word(layer) == "inside"));
}

/// What a review found: each was folded once, and came out wrong.
#[test]
fn what_looks_foldable_and_is_not() {
    let sum = |one: &[i64], other: &[i64], tensors: Vec<NewTensor>| {
        let nodes =
            vec![node("Add", &["x", "z"], &["s"], &[]), node("MatMul", &["s", "w"], &["a"], &[]), norm("bn", "a", "y")];
        let mut made = model(13, one, nodes, tensors.into_iter().chain(vectors("bn", 4)).collect());
        made.graph.inputs.push(support::value("z", other));
        words(&made)
    };
    // The second of two may have more axes than the first.
    assert_eq!(sum(&[4, 3], &[2, 4, 3], vec![weights("w", &[3, 4])]), ["axes"]);
    // A Pad of fives, where the norm only multiplies.
    let padded = |value: f64| {
        let nodes = vec![conv("x", "p", &[]), node("Pad", &["p", "s", "v"], &["a"], &[]), norm("bn", "a", "y")];
        let all = [weights("w", &[5, 3, 3, 3]), weights("c", &[5]), ints("s", &[0, 0, 1, 1, 0, 0, 1, 1])];
        let tensors = all.into_iter().chain([tensor("v", &[], vec![value])]).chain(scaling("bn", 5)).collect();
        words(&model(13, &[-1, 3, 9, 9], nodes, tensors))
    };
    assert_eq!((padded(0.0), padded(5.0)), (vec!["Conv behind".to_owned()], vec!["moves".to_owned()]));
    // A row with an axis behind it, which grows.
    let nodes = vec![
        node("Unsqueeze", &["b", "two"], &["u"], &[]),
        node("Pad", &["u", "s"], &["p"], &[("mode", A::Text("edge".into()))]),
        node("Reshape", &["p", "shape"], &["f"], &[]),
        node("Gemm", &["f", "w"], &["y"], &[]),
    ];
    let tensors =
        vec![weights("w", &[3, 4]), ints("two", &[2]), ints("s", &[0, 0, 1, 0, 0, 1]), ints("shape", &[-1, 3])];
    assert_eq!(words(&case(13, &[2, 3], vec![], 3, nodes, tensors)), ["moves"]);
    // The first length of a part of a shape is none of the examples.
    let view = vec![
        conv("x", "p", &[]),
        node("Shape", &["p"], &["shape"], &[("start", A::Int(2))]),
        node("Gather", &["shape", "zero"], &["n"], &[]),
        node("Unsqueeze", &["n", "zero"], &["n1"], &[]),
        node("Concat", &["n1", "rest"], &["s"], &[("axis", A::Int(0))]),
        node("Reshape", &["p", "s"], &["a"], &[]),
    ];
    let tensors = vec![weights("w", &[4, 3, 3, 3]), weights("c", &[4]), ints("zero", &[0]), ints("rest", &[4, -1])];
    assert_eq!(words(&case(15, &[2, 3, 6, 3], view, 4, vec![], tensors)), ["moves"]);
    // What is 0 and left out, as proto3 writes it: Flatten's axis.
    let mut made = case(
        13,
        &[-1, 4, 3, 3],
        vec![],
        4,
        vec![node("Flatten", &["b"], &["f"], &[("axis", A::Int(0))]), node("Gemm", &["f", "w"], &["y"], &[])],
        vec![weights("w", &[36, 7])],
    );
    assert_eq!(words(&made), ["moves"]);
    made.graph.nodes[1].attributes.clear();
    let file = made.to_bytes();
    let mut field = Vec::new();
    batchnorm_model::wire::put_bytes(&mut field, 5, &[0x0a, 4, b'a', b'x', b'i', b's', 0xa0, 1, 2]);
    let mut edits = batchnorm_model::edit::Edits::default();
    edits.append(batchnorm_model::onnx::Model::read(&file).unwrap().graph.nodes[1].content.clone(), &field);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut out = Vec::new();
    edits.write(&file, &mut out).unwrap();
    std::fs::write(&path, out).unwrap();
    let inspection = ModelFile::open(&path).unwrap().inspect().unwrap();
    assert_eq!(word(&inspection.layers[0]), "moves");
}
