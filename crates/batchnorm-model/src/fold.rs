//! Batch norms folded into the layers beside them, with a proof for each layer that takes some.
//!
//! A layer with its norms is computed in f64 from the file's own numbers and rounded once, to the type that its weights have in the file.
//! What that rounding can make of its output is predicted, and samples are computed both ways ([`Proof`]).

mod affine;
mod linear;
mod proof;
mod unit;
mod wiring;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

use thiserror::Error;

use crate::edit::Edits;
use crate::foldable::{Fold, Frozen, Judge, Reason, Side, Target, Verdict};
use crate::layers::{self, Found};
use crate::numbers::Precision;
use crate::onnx::{Constants, Elsewhere, Model, NewAttribute, NewNode, NewTensor, NewValues, Uses};
use crate::wire::WireError;
use affine::Affine;
use linear::Linear;
pub use proof::{POSITIONS, Proof, SEED};
use unit::{Exact, Unit};
use wiring::Wiring;

/// Numbers of one layer, at most.
const LARGEST: usize = 1 << 31;

/// A model whose norms are folded, ready to be written.
#[derive(Debug)]
pub struct Folding {
    /// Batch norms of the model, and what else was folded as if it were one.
    pub norms: usize,
    /// What was folded, in the order of the file.
    pub folded: Vec<Folded>,
    /// What stays, by name, with the reason.
    pub kept: Vec<(String, Reason)>,
    /// What became a multiplication and an addition.
    pub unfolded: Vec<Folded>,
    edits: Edits,
}

/// A norm that was folded.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// Its name; of Mul and Add that of the Add.
    pub name: String,
    /// The layer that has it now, by operator and name.
    pub into: String,
    /// The kind of that layer.
    pub target: Target,
    /// Where the norm stood.
    pub side: Side,
    /// It was a Mul and an Add.
    pub was_frozen: bool,
    /// The proof of that layer, with all norms that went into it.
    pub proof: Proof,
}

/// A model that cannot be folded.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum FoldError {
    /// A proof that fails: it is a mistake of this program, and nothing is written.
    #[error(
        "{layer}: folded and original differ by {error:e} at a sampled position, and rounding explains {bound:e} at most; please report this model, which was not changed"
    )]
    Proof {
        /// The layer.
        layer: String,
        /// The largest error.
        error: f64,
        /// The largest bound.
        bound: f64,
    },
    /// A layer whose numbers cannot be read.
    #[error("{layer}: {why}")]
    Layer {
        /// The layer.
        layer: String,
        /// Why.
        why: String,
    },
    /// New numbers that overflow the type of the layer's weights.
    #[error(
        "{layer}: the folded numbers are too large for {precision}, in which its weights are kept; keep the model in f32 before it is folded"
    )]
    Overflow {
        /// The layer.
        layer: String,
        /// The type.
        precision: Precision,
    },
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A norm that goes somewhere: a batch norm, or a Mul and an Add.
struct Norm<'f> {
    name: String,
    affine: Affine,
    input: &'f str,
    output: &'f str,
    nodes: Vec<usize>,
    was_frozen: bool,
    fold: Fold,
}

/// A norm that no layer takes, and what may become a multiplication and an addition, with the place of its node.
struct Kept {
    name: String,
    reason: Reason,
    affine: Option<(usize, Affine)>,
}

/// The norms of a layer, by their places in the list of norms.
#[derive(Default)]
struct Group {
    before: Option<usize>,
    /// With the number of norms between each and the layer.
    behind: Vec<(usize, usize)>,
}

/// Folds the batch norms of a model. With `to_mul_and_add` those that no layer takes become a multiplication and an addition where it is
/// known how many axes their input has.
///
/// # Errors
/// Layers whose numbers cannot be read; numbers that overflow; a proof that fails.
pub fn fold<'f>(
    model: &Model<'f>,
    file: &'f [u8],
    elsewhere: &Elsewhere,
    to_mul_and_add: bool,
) -> Result<Folding, FoldError> {
    let graph = &model.graph;
    let opset = model.opset();
    let (constants, uses) = (Constants::of(graph, file), Uses::of(graph));
    let judge = Judge::new(graph, &constants, &uses, opset);
    let mut kept: Vec<Kept> = Vec::new();
    let mut norms: Vec<Norm> = Vec::new();
    let mut count = 0;
    layers::each(model, file, elsewhere, &mut |found: Found<'f>| {
        count += 1;
        let affine = found.parameters.ok().map(|parameters| Affine::of(&parameters, found.epsilon));
        match (found.verdict, found.node, affine) {
            (Verdict::Foldable(fold), Some(node), Some(affine)) => norms.push(Norm {
                name: found.name,
                affine,
                input: graph.nodes[node].input(0).unwrap_or_default(),
                output: graph.nodes[node].output(0).unwrap_or_default(),
                nodes: vec![node],
                was_frozen: false,
                fold,
            }),
            (Verdict::Foldable(_), ..) => {}
            (Verdict::Kept(reason), node, affine) => {
                let may_unfold = !matches!(
                    reason,
                    Reason::Training | Reason::ByPosition | Reason::Parameters(_) | Reason::Inside(_)
                );
                kept.push(Kept { name: found.name, reason, affine: node.zip(affine).filter(|_| may_unfold) });
            }
        }
    });
    for add in 0..graph.nodes.len() {
        let Some(Frozen { mul, input, scale, shift, fold, .. }) = judge.frozen(add) else { continue };
        let numbers = |name: &str| constants.numbers(name, LARGEST, elsewhere).map(|numbers| numbers.to_vec());
        let (Ok(scale), Ok(shift)) = (numbers(scale), numbers(shift)) else { continue };
        let node = &graph.nodes[add];
        count += 1;
        norms.push(Norm {
            name: node.known_as().to_owned(),
            affine: Affine::of_scale_and_shift(scale, shift),
            input,
            output: node.output(0).unwrap_or_default(),
            nodes: vec![mul, add],
            was_frozen: true,
            fold,
        });
    }
    norms.sort_by_key(|norm| norm.nodes[norm.nodes.len() - 1]);
    let work = Work { model, constants: &constants, elsewhere, judge: &judge };
    let mut wiring = Wiring::new(model, &uses, file);
    for norm in &norms {
        norm.nodes.iter().for_each(|&node| wiring.remove(node));
        match norm.fold.side {
            Side::Behind => wiring.rename(norm.input, norm.output),
            Side::Before => wiring.rename(norm.output, norm.input),
        }
    }
    let mut proofs: HashMap<usize, (usize, Proof)> = HashMap::new();
    let groups = groups(&norms);
    let layers: HashSet<usize> = groups.keys().copied().collect();
    for (layer, group) in groups {
        let proof = work.fold(layer, &group, &norms, &mut wiring)?;
        group.before.iter().chain(group.behind.iter().map(|(_, norm)| norm)).for_each(|&norm| {
            proofs.insert(norm, (layer, proof));
        });
    }
    let folded = norms.iter().enumerate().filter_map(|(at, norm)| {
        let (layer, proof) = *proofs.get(&at)?;
        Some(Folded {
            name: norm.name.clone(),
            into: graph.nodes[layer].title(),
            target: judge.target(layer)?,
            side: norm.fold.side,
            was_frozen: norm.was_frozen,
            proof,
        })
    });
    let folded = folded.collect();
    let (mut stays, mut unfolded) = (Vec::new(), Vec::new());
    for Kept { name, reason, affine } in kept {
        let axes = affine.as_ref().and_then(|(node, _)| judge.axes(graph.nodes[*node].input(0)?));
        match (affine, axes) {
            // (Not one that has taken another norm.)
            (Some((node, affine)), Some(axes))
                if to_mul_and_add && opset >= 7 && axes >= 2 && !layers.contains(&node) =>
            {
                let proof = work.unfold(node, affine, axes, &mut wiring)?;
                let into = graph.nodes[node].title();
                unfolded.push(Folded {
                    name,
                    into,
                    target: Target::BatchNorm,
                    side: Side::Behind,
                    was_frozen: false,
                    proof,
                });
            }
            _ => stays.push((name, reason)),
        }
    }
    Ok(Folding { norms: count, folded, kept: stays, unfolded, edits: wiring.finish() })
}

impl Folding {
    /// The largest bound of all that was folded, in units of the layer's own output; none where nothing was.
    pub fn bound(&self) -> Option<f64> {
        self.folded.iter().chain(&self.unfolded).map(|folded| folded.proof.bound).reduce(f64::max)
    }

    /// Writes the folded model.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, file: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.edits.write(file, out)
    }
}

/// The layers that norms go into, each with its norms. A norm behind a norm that goes into a layer goes there too.
fn groups(norms: &[Norm]) -> BTreeMap<usize, Group> {
    let by_node: HashMap<usize, usize> =
        norms.iter().enumerate().flat_map(|(at, norm)| norm.nodes.iter().map(move |&node| (node, at))).collect();
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for (at, norm) in norms.iter().enumerate() {
        let (mut layer, mut between, mut seen) = (norm.fold.into, 0, HashSet::new());
        while let Some(&other) = by_node.get(&layer) {
            // (A circle of norms is none of a graph that can run.)
            if !seen.insert(layer) {
                break;
            }
            layer = norms[other].fold.into;
            between += 1;
        }
        let group = groups.entry(layer).or_default();
        match norm.fold.side {
            Side::Before => group.before = Some(at),
            Side::Behind => group.behind.push((between, at)),
        }
    }
    groups.values_mut().for_each(|group| group.behind.sort_unstable());
    groups
}

/// What the folding of each layer needs.
struct Work<'w, 'f> {
    model: &'w Model<'f>,
    constants: &'w Constants<'w, 'f>,
    elsewhere: &'w Elsewhere<'w>,
    judge: &'w Judge<'w, 'f>,
}

/// Where a layer's numbers are: the node and input of its weights and of what is added, if there is any, and its shape.
struct Numbers {
    linear: Linear,
    weights: Vec<f64>,
    precision: Precision,
    bias: Option<(usize, usize, Vec<usize>, Vec<f64>)>,
}

impl<'f> Work<'_, 'f> {
    /// Folds norms into a layer.
    fn fold(
        &self,
        layer: usize,
        group: &Group,
        norms: &[Norm],
        wiring: &mut Wiring<'_, 'f>,
    ) -> Result<Proof, FoldError> {
        let node = &self.model.graph.nodes[layer];
        let target = self.judge.target(layer).ok_or_else(|| self.layer(layer, "it is no layer that takes a norm"))?;
        let numbers = self.numbers(layer, target)?;
        let beta = node.float("beta").filter(|_| target == Target::Gemm).map_or(1.0, f64::from);
        let outputs = numbers.linear.outputs();
        let bias = match &numbers.bias {
            Some((_, _, _, values)) if values.len() == 1 => vec![values[0] * beta; outputs],
            Some((_, _, _, values)) => values.iter().map(|value| value * beta).collect(),
            None => vec![0.0; outputs],
        };
        let unit = Unit {
            linear: numbers.linear,
            weights: numbers.weights,
            bias,
            before: group.before.map(|norm| norms[norm].affine.clone()),
            behind: group.behind.iter().map(|(_, norm)| norms[*norm].affine.clone()).collect(),
        };
        let exact = unit.exact();
        let precision = numbers.precision;
        // What is added is multiplied by Gemm's beta, where that is not 0.
        let beta = if beta == 0.0 { 1.0 } else { beta };
        let kept_bias: Vec<f64> = exact.bias.iter().map(|bias| bias / beta).collect();
        let stored = Exact {
            weights: rounded(&exact.weights, precision),
            bias: rounded(&kept_bias, precision).iter().map(|bias| bias * beta).collect(),
        };
        if stored.weights.iter().chain(&stored.bias).any(|number| !number.is_finite()) {
            return Err(FoldError::Overflow { layer: node.title(), precision });
        }
        let proof = proof::prove(&unit, &exact, precision, &stored);
        if !proof.holds {
            return Err(FoldError::Proof { layer: node.title(), error: proof.largest_error, bound: proof.bound });
        }
        let tensor = |name: String, shape: Vec<usize>, values: Vec<f64>| NewTensor {
            name,
            shape,
            values: NewValues::Floats(precision, values),
        };
        let name = node.known_as();
        let shape = if target == Target::BatchNorm { vec![outputs] } else { unit.linear.shape.clone() };
        wiring.put_constant(layer, 1, tensor(format!("{name}_folded_weight"), shape, exact.weights))?;
        let column = |shape: Option<&[usize]>| match shape {
            Some([1, _]) => vec![1, outputs],
            _ => vec![outputs],
        };
        match numbers.bias {
            Some((place, input, shape, _)) => {
                wiring.put_constant(
                    place,
                    input,
                    tensor(format!("{name}_folded_bias"), column(Some(&shape)), kept_bias),
                )?;
            }
            None if kept_bias.iter().all(|bias| *bias == 0.0) => {}
            None if target == Target::MatMul => {
                let bias = wiring.add_tensor(tensor(format!("{name}_folded_bias"), vec![outputs], kept_bias));
                let old = self.model.opset() < 7;
                wiring.put_behind(layer, |from, to| NewNode {
                    operator: "Add".into(),
                    name: format!("{name}_folded_add"),
                    inputs: vec![from, bias],
                    outputs: vec![to],
                    attributes: if old { vec![("broadcast".into(), NewAttribute::Int(1))] } else { Vec::new() },
                    ..NewNode::default()
                });
            }
            None => wiring.put_constant(layer, 2, tensor(format!("{name}_folded_bias"), vec![outputs], kept_bias))?,
        }
        if target == Target::Gemm && node.float("beta") == Some(0.0) {
            wiring.drop_attribute(layer, "beta");
        }
        Ok(proof)
    }

    /// Makes a multiplication and an addition of a norm.
    fn unfold(
        &self,
        place: usize,
        affine: Affine,
        axes: usize,
        wiring: &mut Wiring<'_, 'f>,
    ) -> Result<Proof, FoldError> {
        let node = &self.model.graph.nodes[place];
        let channels = affine.channels();
        let precision = self.precision(place, 1)?;
        let linear =
            Linear { target: Target::BatchNorm, shape: vec![channels], group: 1, transposed: false, alpha: 1.0 };
        let unit = Unit {
            linear,
            weights: vec![1.0; channels],
            bias: vec![0.0; channels],
            before: None,
            behind: vec![affine],
        };
        let exact = unit.exact();
        let stored = Exact { weights: rounded(&exact.weights, precision), bias: rounded(&exact.bias, precision) };
        if stored.weights.iter().chain(&stored.bias).any(|number| !number.is_finite()) {
            return Err(FoldError::Overflow { layer: node.title(), precision });
        }
        let proof = proof::prove(&unit, &exact, precision, &stored);
        if !proof.holds {
            return Err(FoldError::Proof { layer: node.title(), error: proof.largest_error, bound: proof.bound });
        }
        let name = node.known_as();
        let shape: Vec<usize> = std::iter::once(channels).chain(vec![1; axes - 2]).collect();
        let mut constant = |what: &str, values: Vec<f64>| {
            let values = NewValues::Floats(precision, values);
            wiring.add_tensor(NewTensor { name: format!("{name}_{what}"), shape: shape.clone(), values })
        };
        let (scale, shift) = (constant("scale", exact.weights), constant("shift", exact.bias));
        wiring.replace_by_two(place, ("Mul", scale), ("Add", shift));
        Ok(proof)
    }

    fn layer(&self, place: usize, why: impl ToString) -> FoldError {
        FoldError::Layer { layer: self.model.graph.nodes[place].title(), why: why.to_string() }
    }

    fn precision(&self, place: usize, input: usize) -> Result<Precision, FoldError> {
        let name = self.model.graph.nodes[place].input(input).unwrap_or_default();
        let numbers =
            self.constants.numbers(name, LARGEST, self.elsewhere).map_err(|error| self.layer(place, error))?;
        Ok(numbers.precision())
    }

    /// The numbers of a layer.
    fn numbers(&self, place: usize, target: Target) -> Result<Numbers, FoldError> {
        let node = &self.model.graph.nodes[place];
        let read = |at: usize, input: usize| {
            let name = self.model.graph.nodes[at].input(input).unwrap_or_default();
            let numbers =
                self.constants.numbers(name, LARGEST, self.elsewhere).map_err(|error| self.layer(place, error))?;
            let shape = self.constants.shape(name).unwrap_or_default();
            let shape: Vec<usize> = shape.into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect();
            Ok::<_, FoldError>((shape, numbers.precision(), numbers.to_vec()))
        };
        let (shape, precision, weights) = read(place, 1)?;
        let shape = if target == Target::BatchNorm { vec![weights.len()] } else { shape };
        let linear = Linear {
            target,
            shape,
            group: node.int("group").and_then(|group| usize::try_from(group).ok()).unwrap_or(1),
            transposed: target == Target::Gemm && node.int("transB").unwrap_or(0) != 0,
            alpha: node.float("alpha").filter(|_| target == Target::Gemm).map_or(1.0, f64::from),
        };
        if linear.count() != weights.len()
            || linear.group == 0
            || linear.shape.first().is_none_or(|first| first % linear.group != 0)
        {
            return Err(self.layer(place, "expected weights of its shape and its groups"));
        }
        let added = match target {
            Target::MatMul => self.judge.bias_of_product(place, linear.outputs()).map(|add| {
                let first = self.model.graph.nodes[add].input(0).is_some_and(|name| self.constants.has(name));
                (add, if first { 0 } else { 1 })
            }),
            _ => node.input(2).map(|_| (place, 2)),
        };
        let bias = added
            .map(|(at, input)| read(at, input).map(|(shape, _, values)| (at, input, shape, values)))
            .transpose()?;
        if bias.as_ref().is_some_and(|(.., values)| values.len() != 1 && values.len() != linear.outputs()) {
            return Err(self.layer(place, "expected a number for each channel that is added"));
        }
        // (A batch norm as a layer: scale and shift of what it normalises.)
        Ok(Numbers { linear, weights, precision, bias })
    }
}

/// Numbers as they come back from a file.
fn rounded(numbers: &[f64], precision: Precision) -> Vec<f64> {
    let bytes = precision.bytes_of(numbers.iter().copied());
    crate::numbers::Numbers::of_bytes(bytes, precision).map(|numbers| numbers.to_vec()).unwrap_or_default()
}
