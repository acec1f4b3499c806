//! Graphs with a layer and a norm beside it, in all forms that folding takes, as a number decides.
#![allow(dead_code, missing_docs)]

use batchnorm_model::onnx::{NewAttribute as A, NewModel, NewNode, NewTensor, NewValues};

use super::run::{Array, run};
use super::support::{self, ints, model, node, norm, numbers, scaling, vectors, weights};

/// The largest difference between two models' outputs on an input, relative to the largest output.
pub fn difference(one: &[u8], other: &[u8], input: &Array) -> f64 {
    let (one, other) = (run(one, input), run(other, input));
    let mut largest: f64 = 0.0;
    let mut difference: f64 = 0.0;
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.shape, other.shape);
        for (one, other) in one.values.iter().zip(&other.values) {
            largest = largest.max(one.abs());
            difference = difference.max((one - other).abs());
        }
    }
    difference / largest.max(1e-30)
}

/// A generator of choices.
struct Choices(u64);

impl Choices {
    fn of(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    fn yes(&mut self) -> bool {
        self.of(2) == 1
    }
}

/// A layer, the norm and what lies between, in all forms that folding takes.
pub fn generated(seed: u64) -> (NewModel, Array) {
    let mut choose = Choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995);
    for _ in 0..16 {
        choose.of(2);
    }
    let rank = choose.of(3) + 1;
    let kind = ["Conv", "ConvTranspose", "Gemm", "MatMul"][choose.of(4)];
    let is_matrix = matches!(kind, "Gemm" | "MatMul");
    let before = choose.yes();
    let (group, own, others) = (choose.of(3) + 1, choose.of(3) + 1, choose.of(3) + 1);
    let mut tensors: Vec<NewTensor> = Vec::new();
    let (inputs, outputs) = match kind {
        "Conv" => (group * own, group * others),
        "ConvTranspose" => (group * own, group * others),
        _ => (choose.of(5) + 2, choose.of(5) + 2),
    };
    let kernel = choose.of(3) + 1;
    let transposed = kind == "Gemm" && choose.yes();
    let shape: Vec<usize> = match kind {
        "Conv" => [vec![outputs, own], vec![kernel; rank]].concat(),
        "ConvTranspose" => [vec![inputs, others], vec![kernel; rank]].concat(),
        _ if transposed => vec![outputs, inputs],
        _ => vec![inputs, outputs],
    };
    tensors.push(weights("w", &shape));
    let mut attributes: Vec<(&str, A)> = Vec::new();
    let padded = choose.yes();
    if !is_matrix {
        attributes.push(("group", A::Int(group as i64)));
        attributes.push(("strides", A::Ints(vec![choose.of(2) as i64 + 1; rank])));
        attributes.push(("dilations", A::Ints(vec![choose.of(2) as i64 + 1; rank])));
        if padded && (kind == "Conv" || kernel > 2) {
            attributes.push(("pads", A::Ints(vec![1; 2 * rank])));
        }
    }
    if kind == "Gemm" {
        attributes.push(("transB", A::Int(i64::from(transposed))));
        attributes.push(("alpha", A::Float([1.0, 0.5, -2.0][choose.of(3)])));
        attributes.push(("beta", A::Float([1.0, 0.0, 3.0][choose.of(3)])));
    }
    let biased = choose.yes();
    // Half of the norms in front shift nothing, as they must where zeros are padded.
    let channels = if before { inputs } else { outputs };
    let mut own_vectors = if before && choose.yes() { scaling("bn", channels) } else { vectors("bn", channels) };
    if choose.of(4) == 0 {
        // A channel that was constant, and one that gamma switches off.
        let NewValues::Floats(_, variance) = &mut own_vectors[3].values else { unreachable!() };
        variance[0] = 0.0;
        let NewValues::Floats(_, gamma) = &mut own_vectors[0].values else { unreachable!() };
        gamma[channels - 1] = 0.0;
    }
    tensors.extend(own_vectors);
    let mut bn = norm("bn", "", "");
    bn.attributes.push(("epsilon".into(), A::Float([1e-5, 1e-3, 0.1][choose.of(3)])));
    let between = choose.of(4);
    let mut nodes: Vec<NewNode> = Vec::new();
    let mut at = String::from("x");
    let mut put = |nodes: &mut Vec<NewNode>, mut node: NewNode, value: &str| {
        node.inputs[0] = std::mem::replace(&mut at, value.to_owned());
        node.outputs = vec![value.to_owned()];
        nodes.push(node);
    };
    let layer = |tensors: &mut Vec<NewTensor>| {
        let mut all: Vec<NewNode> = Vec::new();
        let mut inputs = vec!["", "w"];
        if biased && kind != "MatMul" {
            inputs.push("c");
        }
        if biased {
            tensors.push(weights("c", if is_matrix && outputs % 2 == 0 { &[1, 7][..1] } else { &[7][..] }));
            let shape = if is_matrix && outputs % 2 == 0 { vec![1, outputs] } else { vec![outputs] };
            *tensors.last_mut().unwrap() = weights("c", &shape);
        }
        all.push(node(kind, &inputs, &["layer"], &attributes));
        if biased && kind == "MatMul" {
            all.push(node("Add", &["", "c"], &["added"], &[]));
        }
        all
    };
    let pass = |tensors: &mut Vec<NewTensor>| match between {
        0 => vec![],
        1 => vec![node("Identity", &[""], &["same"], &[])],
        2 => vec![node("Dropout", &[""], &["dropped"], &[])],
        _ if is_matrix => vec![node("Flatten", &[""], &["flat"], &[])],
        _ => {
            tensors.push(ints("shape", &[vec![0, 0], vec![0; rank]].concat()));
            vec![node("Reshape", &["", "shape"], &["reshaped"], &[])]
        }
    };
    let layer = layer(&mut tensors);
    let pass = pass(&mut tensors);
    let norm_first = before;
    let parts: Vec<Vec<NewNode>> = if norm_first { vec![vec![bn], pass, layer] } else { vec![layer, pass, vec![bn]] };
    for (at, node) in parts.into_iter().flatten().enumerate() {
        let value = format!("v{at}");
        put(&mut nodes, node, &value);
    }
    // A second layer may have the same weights.
    let mut outputs_of = vec![at.clone()];
    if choose.yes() && !is_matrix && inputs == outputs {
        let mut again = node(kind, &["x", "w"], &["again"], &attributes);
        again.name = "again".into();
        nodes.push(again);
        outputs_of.push("again".into());
    }
    let input_shape: Vec<usize> =
        [vec![2, inputs], if is_matrix { vec![] } else { vec![kernel * 2 + 3; rank] }].concat();
    let declared: Vec<i64> = std::iter::once(-1).chain(input_shape[1..].iter().map(|&length| length as i64)).collect();
    let mut made =
        model([7, 9, 13, 15][choose.of(4)].max(if between == 2 { 13 } else { 7 }), &declared, nodes, tensors);
    made.graph.outputs = outputs_of.iter().map(|name| support::shapeless(name)).collect();
    let count = input_shape.iter().product();
    (
        made,
        Array {
            shape: input_shape,
            values: numbers(count, seed.wrapping_add(1)).iter().map(|value| value * 3.0).collect(),
        },
    )
}
