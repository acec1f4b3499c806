//! Batch norms folded into the layers beside them, with a proof for each layer that takes some.
//!
//! A layer with its norms is computed in f64 from the file's own numbers and rounded once, to the type that its weights have in the file.
//! What that rounding can make of its output is predicted, and samples are computed both ways ([`Proof`]).

mod affine;
mod error;
mod layer;
mod linear;
mod proof;
mod unit;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

use rayon::prelude::*;

use crate::budget::Budget;
use crate::edit::Edits;
use crate::foldable::{Fold, Frozen, Judge, Reason, Side, Target, Verdict};
use crate::layers::{self, Found};
use crate::numbers::{self, Precision};
use crate::onnx::{Constants, Elsewhere, Model, NewAttribute, NewNode, NewTensor, NewValues, Uses, element_of};
use crate::wiring::Wiring;
use affine::Affine;
pub use error::FoldError;
use layer::{Bias, Layer, Stored, Taken};
use linear::Linear;
pub use proof::{POSITIONS, Proof, SEED};
use unit::Unit;

/// Numbers of one layer, at most.
const LARGEST: usize = 1 << 31;
/// Numbers of layers that are folded at the same time, if one alone has no more: each is in memory as f64, twice.
const AT_ONCE: usize = 1 << 22;

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
    let mut budget = Budget::of(file.len());
    layers::each(model, file, elsewhere, &mut budget, &mut |found: Found<'f>| {
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
                    Reason::Training
                        | Reason::Statistics
                        | Reason::ByPosition
                        | Reason::Parameters(_)
                        | Reason::Inside(_)
                );
                kept.push(Kept { name: found.name, reason, affine: node.zip(affine).filter(|_| may_unfold) });
            }
        }
    })?;
    for add in 0..graph.nodes.len() {
        let Some(Frozen { mul, input, scale, shift, fold, .. }) = judge.frozen(add) else { continue };
        let numbers = |name: &str| constants.numbers(name, LARGEST, elsewhere).map(|numbers| numbers.to_vec());
        let (Ok(scale), Ok(shift)) = (numbers(scale), numbers(shift)) else { continue };
        budget.take_affine(scale.len().max(shift.len()))?;
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
    let mut proofs: HashMap<usize, (usize, Proof)> = HashMap::new();
    let groups = groups(&norms);
    let layers: HashSet<usize> = groups.keys().copied().collect();
    let mut stays: Vec<(String, Reason)> = Vec::new();
    let mut groups = groups.into_iter();
    loop {
        let (mut batch, mut size) = (Vec::new(), 0);
        while size < AT_ONCE
            && let Some((layer, group)) = groups.next()
        {
            let read = work.read(layer, &group, &norms);
            size += read.as_ref().map_or(0, |read| read.weights.len());
            batch.push((layer, group, read));
        }
        if batch.is_empty() {
            break;
        }
        let batch: Vec<(usize, Group, Result<Taken, FoldError>)> =
            batch.into_par_iter().map(|(layer, group, read)| (layer, group, read.and_then(Layer::take_in))).collect();
        for (layer, group, taken) in batch {
            let own = || group.before.iter().copied().chain(group.behind.iter().map(|(_, norm)| *norm));
            let taken = match taken {
                Ok(taken) => taken,
                // What a layer cannot take stays beside it, and the others are folded all the same.
                Err(error @ (FoldError::Layer { .. } | FoldError::Overflow { .. })) => {
                    stays.extend(own().map(|norm| (norms[norm].name.clone(), Reason::Weights(error.to_string()))));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for norm in own() {
                norms[norm].nodes.iter().for_each(|&node| wiring.remove(node));
                match norms[norm].fold.side {
                    Side::Behind => wiring.rename(norms[norm].input, norms[norm].output),
                    Side::Before => wiring.rename(norms[norm].output, norms[norm].input),
                }
                proofs.insert(norm, (layer, taken.stored.proof));
            }
            work.put(layer, taken, &mut wiring)?;
        }
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
    let mut unfolded = Vec::new();
    let may_unfold = to_mul_and_add && opset >= 7 && work.has_one_type();
    for Kept { name, reason, affine } in kept {
        let axes = affine.as_ref().and_then(|(node, _)| judge.axes(graph.nodes[*node].input(0)?));
        match (affine, axes) {
            // (Not one that has taken another norm.)
            (Some((node, affine)), Some(axes)) if may_unfold && axes >= 2 && !layers.contains(&node) => {
                let proof = work.unfold(node, affine, axes, &mut wiring)?;
                unfolded.push(Folded {
                    name,
                    into: String::from("Mul, Add"),
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

impl<'f> Work<'_, 'f> {
    /// A layer's numbers, and the norms that go into them.
    fn read(&self, layer: usize, group: &Group, norms: &[Norm]) -> Result<Layer<'f>, FoldError> {
        let node = &self.model.graph.nodes[layer];
        let target = self.judge.target(layer).ok_or_else(|| self.layer(layer, "it is no layer that takes a norm"))?;
        let (linear, weights) = self.weights(layer, target)?;
        let bias = self.bias(layer, &linear)?;
        // What is added is multiplied by Gemm's beta; by 0 it is nothing, whatever it is.
        let beta = node.float("beta").filter(|_| target == Target::Gemm).map_or(1.0, f64::from);
        let outputs = linear.outputs();
        let added = match &bias {
            Some((_, values)) if beta != 0.0 && values.len() == 1 => vec![values[0] * beta; outputs],
            Some((_, values)) if beta != 0.0 => values.iter().map(|value| value * beta).collect(),
            _ => vec![0.0; outputs],
        };
        Ok(Layer {
            title: node.title(),
            linear,
            weights,
            added,
            beta: if beta == 0.0 { 1.0 } else { beta },
            bias: bias.map(|(place, _)| place),
            before: group.before.map(|norm| norms[norm].affine.clone()),
            behind: group.behind.iter().map(|(_, norm)| norms[*norm].affine.clone()).collect(),
        })
    }

    /// Puts a layer's new numbers into the model.
    fn put(&self, layer: usize, taken: Taken, wiring: &mut Wiring<'_, 'f>) -> Result<(), FoldError> {
        let node = &self.model.graph.nodes[layer];
        let Taken { linear, bias, stored: Stored { precision, weights, added, adds, .. } } = taken;
        let (name, outputs) = (node.known_as(), linear.outputs());
        let tensor = |what: &str, shape: Vec<usize>, bytes: Vec<u8>| NewTensor {
            name: format!("{name}_folded_{what}"),
            shape,
            values: NewValues::Bytes(precision, bytes),
        };
        wiring.put_constant(layer, 1, tensor("weight", linear.shape, weights))?;
        match bias {
            Some(Bias { node, input, axes }) => {
                let shape = if axes == 2 { vec![1, outputs] } else { vec![outputs] };
                wiring.put_constant(node, input, tensor("bias", shape, added))?;
            }
            None if !adds => {}
            None if linear.target == Target::MatMul => {
                let bias = wiring.add_tensor(tensor("bias", vec![outputs], added));
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
            None => wiring.put_constant(layer, 2, tensor("bias", vec![outputs], added))?,
        }
        if linear.target == Target::Gemm && node.float("beta") == Some(0.0) {
            wiring.drop_attribute(layer, "beta");
        }
        Ok(())
    }

    /// Makes a multiplication and an addition of a norm.
    fn unfold(
        &self,
        place: usize,
        affine: Affine,
        axes: usize,
        wiring: &mut Wiring<'_, 'f>,
    ) -> Result<Proof, FoldError> {
        let channels = affine.channels();
        let precision = self.constant(place, place, 1)?.precision();
        let linear =
            Linear { target: Target::BatchNorm, shape: vec![channels], group: 1, transposed: false, alpha: 1.0 };
        let (weights, bias) = (vec![1.0; channels], vec![0.0; channels]);
        let unit = Unit { linear, weights, bias, before: None, behind: vec![affine] };
        let stored = Stored::of(&unit, precision, 1.0, || self.model.graph.nodes[place].title())?;
        let name = self.model.graph.nodes[place].known_as();
        let shape: Vec<usize> = std::iter::once(channels).chain(vec![1; axes - 2]).collect();
        let mut constant = |what: &str, bytes: Vec<u8>| {
            let values = NewValues::Bytes(precision, bytes);
            wiring.add_tensor(NewTensor { name: format!("{name}_{what}"), shape: shape.clone(), values })
        };
        let (scale, shift) = (constant("scale", stored.weights), constant("shift", stored.added));
        wiring.replace_by_two(place, ("Mul", scale), ("Add", shift));
        Ok(stored.proof)
    }

    /// Tells whether values and parameters of norms are of one type: before version 14 they must be, later all inputs say so where nothing
    /// is cast.
    fn has_one_type(&self) -> bool {
        let graph = &self.model.graph;
        let single = element_of(Precision::F32);
        let floats = [Precision::F64, Precision::F16, Precision::Bf16].map(element_of);
        let inputs = graph.inputs.iter().filter_map(|value| value.element);
        let tensors = graph.initializers.iter().map(|tensor| tensor.element);
        let all_single = inputs.chain(tensors).all(|element| element == single || !floats.contains(&element));
        self.model.opset() < 14 || (all_single && !graph.nodes.iter().any(|node| node.is_one_of(&["Cast", "CastLike"])))
    }

    fn layer(&self, place: usize, why: impl ToString) -> FoldError {
        FoldError::Layer { layer: self.model.graph.nodes[place].title(), why: why.to_string() }
    }

    /// The numbers of the constant that an input of a node is, as a part of a layer.
    fn constant(&self, layer: usize, node: usize, input: usize) -> Result<numbers::Numbers<'f>, FoldError> {
        let name = self.model.graph.nodes[node].input(input).unwrap_or_default();
        self.constants.numbers(name, LARGEST, self.elsewhere).map_err(|error| self.layer(layer, error))
    }

    /// The weights of a layer, and how they lie.
    fn weights(&self, place: usize, target: Target) -> Result<(Linear, numbers::Numbers<'f>), FoldError> {
        let node = &self.model.graph.nodes[place];
        let weights = self.constant(place, place, 1)?;
        let shape = if target == Target::BatchNorm { vec![weights.len()] } else { self.shape(place, 1) };
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
        Ok((linear, weights))
    }

    /// What a layer adds, if it adds anything: where that is, and its numbers.
    fn bias(&self, place: usize, linear: &Linear) -> Result<Option<(Bias, Vec<f64>)>, FoldError> {
        let added = match linear.target {
            Target::MatMul => self.judge.bias_of_product(place, linear.outputs()),
            _ => self.model.graph.nodes[place].input(2).map(|_| (place, 2)),
        };
        let Some((node, input)) = added else { return Ok(None) };
        let values = self.constant(place, node, input)?.to_vec();
        if values.len() != 1 && values.len() != linear.outputs() {
            return Err(self.layer(place, "expected a number for each channel that is added"));
        }
        Ok(Some((Bias { node, input, axes: self.shape(node, input).len() }, values)))
    }

    /// The shape of the constant that an input of a node is.
    fn shape(&self, node: usize, input: usize) -> Vec<usize> {
        let name = self.model.graph.nodes[node].input(input).unwrap_or_default();
        let shape = self.constants.shape(name).unwrap_or_default();
        shape.into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect()
    }
}
