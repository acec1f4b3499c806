//! Small models run by plain loops in f64: what layers mean, written down once more, for comparisons.
#![allow(dead_code, missing_docs)]

use std::collections::HashMap;

use batchnorm_model::onnx::{BatchNorm, Constants, Model, Node};

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// The outputs of a model for an input.
pub fn run(file: &[u8], input: &Array) -> Vec<Array> {
    let model = Model::read(file).unwrap();
    model.check().unwrap();
    let constants = Constants::of(&model.graph, file);
    let mut values: HashMap<&str, Array> = HashMap::new();
    values.insert(model.graph.inputs.iter().find(|value| !constants.has(value.name)).unwrap().name, input.clone());
    let mut left: Vec<&Node> = model.graph.nodes.iter().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|node| {
            let get = |at: usize| {
                node.input(at).and_then(|name| values.get(name).cloned().or_else(|| constant(&constants, name)))
            };
            let there = node
                .inputs
                .iter()
                .all(|name| name.text.is_empty() || values.contains_key(name.text) || constants.has(name.text));
            if !there {
                return true;
            }
            if !node.is_one_of(&["Constant", "ConstantOfShape"]) {
                let ints = |at: usize| node.input(at).and_then(|name| constants.whole_numbers(name));
                values.insert(node.output(0).unwrap(), one(node, model.opset(), &get, &ints));
            }
            false
        });
        assert!(left.len() < before, "nodes that wait for each other");
    }
    model.graph.outputs.iter().map(|output| values[output.name].clone()).collect()
}

fn constant(constants: &Constants, name: &str) -> Option<Array> {
    let numbers = constants.numbers(name, 1 << 24, &|_, _, _| Err(String::new())).ok()?;
    let shape = constants.shape(name)?.into_iter().map(|length| length as usize).collect();
    Some(Array { shape, values: numbers.to_vec() })
}

fn one(
    node: &Node,
    opset: i64,
    get: &dyn Fn(usize) -> Option<Array>,
    ints: &dyn Fn(usize) -> Option<Vec<i64>>,
) -> Array {
    let x = get(0).unwrap();
    match node.operator {
        "Identity" | "Dropout" => x,
        "Relu" => Array { values: x.values.iter().map(|value| value.max(0.0)).collect(), ..x },
        "BatchNormalization" => {
            let epsilon = f64::from(BatchNorm::of(node, opset).unwrap().epsilon);
            let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|at| get(at).unwrap().values);
            let behind: usize = x.shape[2..].iter().product();
            let of = |(at, value): (usize, &f64)| {
                let channel = at / behind % x.shape[1];
                gamma[channel] * (value - mean[channel]) / (variance[channel] + epsilon).sqrt() + beta[channel]
            };
            Array { values: x.values.iter().enumerate().map(of).collect(), shape: x.shape }
        }
        "Add" => with(&x, &get(1).unwrap(), |a, b| a + b),
        "Mul" => with(&x, &get(1).unwrap(), |a, b| a * b),
        "Flatten" => Array { shape: vec![x.shape[0], x.shape[1..].iter().product()], values: x.values },
        "Reshape" => {
            let mut shape: Vec<usize> = ints(1)
                .unwrap()
                .iter()
                .enumerate()
                .map(|(at, &length)| match length {
                    0 => x.shape[at],
                    -1 => usize::MAX,
                    length => length as usize,
                })
                .collect();
            if let Some(at) = shape.iter().position(|length| *length == usize::MAX) {
                shape[at] = 1;
                shape[at] = x.values.len() / shape.iter().product::<usize>();
            }
            Array { shape, values: x.values }
        }
        "Pad" => pad(&x, &ints(1).unwrap()),
        "Conv" => conv(node, &x, &get(1).unwrap(), get(2)),
        "ConvTranspose" => conv_transpose(node, &x, &get(1).unwrap(), get(2)),
        "MatMul" => product(&x, &get(1).unwrap(), false),
        "Gemm" => {
            let factor = |name: &str| node.float(name).map_or(1.0, f64::from);
            let y = product(&x, &get(1).unwrap(), node.int("transB") == Some(1));
            let y = Array { values: y.values.iter().map(|value| value * factor("alpha")).collect(), ..y };
            match get(2) {
                Some(bias) => with(&y, &bias, |a, b| a + factor("beta") * b),
                None => y,
            }
        }
        other => panic!("{other}"),
    }
}

/// Elementwise, the second one broadcast to the first, or the first to the second.
fn with(one: &Array, other: &Array, of: impl Fn(f64, f64) -> f64) -> Array {
    let axes = one.shape.len().max(other.shape.len());
    let aligned = |shape: &[usize]| [vec![1; axes - shape.len()], shape.to_vec()].concat();
    let (first, second) = (aligned(&one.shape), aligned(&other.shape));
    let shape: Vec<usize> = first.iter().zip(&second).map(|(one, other)| *one.max(other)).collect();
    let place = |index: &[usize], of: &[usize]| {
        index.iter().zip(of).fold(0, |place, (&at, &length)| place * length + if length == 1 { 0 } else { at })
    };
    let values =
        indices(&shape).map(|index| of(one.values[place(&index, &first)], other.values[place(&index, &second)]));
    Array { values: values.collect(), shape }
}

fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let count: usize = shape.iter().product();
    (0..count).map(move |mut flat| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = flat % shape[axis];
            flat /= shape[axis];
        }
        index
    })
}

fn flat(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |place, (&at, &length)| place * length + at)
}

fn pad(x: &Array, pads: &[i64]) -> Array {
    let axes = x.shape.len();
    let shape: Vec<usize> = (0..axes).map(|axis| x.shape[axis] + (pads[axis] + pads[axes + axis]) as usize).collect();
    let values = indices(&shape).map(|index| {
        let inner: Vec<i64> = (0..axes).map(|axis| index[axis] as i64 - pads[axis]).collect();
        let inside = inner.iter().zip(&x.shape).all(|(at, length)| (0..*length as i64).contains(at));
        if inside { x.values[flat(&inner.iter().map(|at| *at as usize).collect::<Vec<_>>(), &x.shape)] } else { 0.0 }
    });
    Array { values: values.collect(), shape }
}

/// (Stride and dilation of one number for all axes, pads the same on all sides.)
fn attributes(node: &Node) -> (usize, usize, usize, usize) {
    let first = |name: &str, none: usize| node.ints(name).map_or(none, |values| values[0] as usize);
    (node.int("group").unwrap_or(1) as usize, first("strides", 1), first("dilations", 1), first("pads", 0))
}

fn conv(node: &Node, x: &Array, w: &Array, bias: Option<Array>) -> Array {
    let (group, stride, dilation, pad) = attributes(node);
    let lengths: Vec<usize> = (2..x.shape.len())
        .map(|axis| (x.shape[axis] + 2 * pad - dilation * (w.shape[axis] - 1) - 1) / stride + 1)
        .collect();
    let shape = [vec![x.shape[0], w.shape[0]], lengths].concat();
    let own = w.shape[1];
    let values = indices(&shape).map(|index| {
        let (example, output) = (index[0], index[1]);
        let first = output / (w.shape[0] / group) * own;
        let mut sum = bias.as_ref().map_or(0.0, |bias| bias.values[output]);
        for tap in indices(&w.shape[1..]) {
            let at: Vec<i64> = (0..index.len() - 2)
                .map(|axis| (index[2 + axis] * stride + tap[1 + axis] * dilation) as i64 - pad as i64)
                .collect();
            if at.iter().zip(&x.shape[2..]).all(|(at, length)| (0..*length as i64).contains(at)) {
                let place: Vec<usize> =
                    [example, first + tap[0]].into_iter().chain(at.iter().map(|at| *at as usize)).collect();
                let weight: Vec<usize> = std::iter::once(output).chain(tap).collect();
                sum += x.values[flat(&place, &x.shape)] * w.values[flat(&weight, &w.shape)];
            }
        }
        sum
    });
    Array { values: values.collect(), shape }
}

fn conv_transpose(node: &Node, x: &Array, w: &Array, bias: Option<Array>) -> Array {
    let (group, stride, dilation, pad) = attributes(node);
    let lengths: Vec<usize> = (2..x.shape.len())
        .map(|axis| (x.shape[axis] - 1) * stride + dilation * (w.shape[axis] - 1) + 1 - 2 * pad)
        .collect();
    let outputs = w.shape[1] * group;
    let shape = [vec![x.shape[0], outputs], lengths].concat();
    let mut y = Array { values: vec![0.0; shape.iter().product()], shape };
    if let Some(bias) = bias {
        let behind: usize = y.shape[2..].iter().product();
        y.values.iter_mut().enumerate().for_each(|(at, value)| *value = bias.values[at / behind % outputs]);
    }
    for place in indices(&x.shape) {
        let input = place[1];
        for tap in indices(&w.shape[1..]) {
            let output = input / (w.shape[0] / group) * w.shape[1] + tap[0];
            let at: Vec<i64> = (0..place.len() - 2)
                .map(|axis| (place[2 + axis] * stride + tap[1 + axis] * dilation) as i64 - pad as i64)
                .collect();
            if at.iter().zip(&y.shape[2..]).all(|(at, length)| (0..*length as i64).contains(at)) {
                let to: Vec<usize> = [place[0], output].into_iter().chain(at.iter().map(|at| *at as usize)).collect();
                let weight: Vec<usize> = std::iter::once(input).chain(tap).collect();
                let to = flat(&to, &y.shape);
                y.values[to] += x.values[flat(&place, &x.shape)] * w.values[flat(&weight, &w.shape)];
            }
        }
    }
    y
}

fn product(x: &Array, w: &Array, transposed: bool) -> Array {
    let (inner, columns) = if transposed { (w.shape[1], w.shape[0]) } else { (w.shape[0], w.shape[1]) };
    let rows = x.values.len() / inner;
    let weight = |k: usize, column: usize| w.values[if transposed { column * inner + k } else { k * columns + column }];
    let of = |at: usize| (0..inner).map(|k| x.values[at / columns * inner + k] * weight(k, at % columns)).sum();
    let mut shape = x.shape.clone();
    *shape.last_mut().unwrap() = columns;
    Array { shape, values: (0..rows * columns).map(of).collect() }
}
