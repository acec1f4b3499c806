//! From a batch norm back to the layer that it stands behind: scale and shift go into that layer's weights and bias.

use super::neighbourhood::{LONGEST, Neighbourhood, Obstacle, is_quantisation};
use super::passing::{Passing, passing};
use super::verdict::{Fold, Reason, Side, Target};
use crate::excerpt::excerpt;
use crate::onnx::{BatchNorm, values_of};

/// A layer that was met.
struct Met {
    place: usize,
    target: Target,
    bias: Option<usize>,
}

/// The layer that a norm stands behind, whose input this value is. `shifts` tells whether the norm adds anything but 0.
pub(super) fn find<'f>(
    around: &Neighbourhood<'_, 'f>,
    input: Option<&'f str>,
    channels: usize,
    shifts: bool,
) -> Result<Fold, Obstacle> {
    let nothing = || Obstacle::Else(String::from("nothing"));
    let mut value = input.ok_or_else(nothing)?;
    let mut through = Vec::new();
    for _ in 0..LONGEST {
        let Some(place) = around.maker(value) else {
            return Err(Obstacle::Else(String::from("an input of the graph")));
        };
        let node = around.node(place);
        let met = met(around, place)?;
        // What it does to channels is asked again below, when it is known how they lie.
        let passes = met.is_none() && passing(node, &around.shapes, around.opset, channels, false).is_some();
        if met.is_some() || passes {
            // Whoever else takes the value would get what is folded.
            around.not_shared(value, || format!("the output of {}", node.title()))?;
        }
        match met {
            Some(met) => {
                through.reverse();
                return fits(around, met, through, channels, shifts);
            }
            None if passes => {
                through.push(place);
                value = node.input(0).ok_or_else(nothing)?;
            }
            None if is_quantisation(node) => return Err(Obstacle::Reason(Reason::Quantised(node.title()))),
            None => return Err(Obstacle::Else(excerpt(node.operator))),
        }
    }
    Err(Obstacle::Else(String::from("nodes that change nothing, without end")))
}

/// The layer whose output a node gives.
fn met(around: &Neighbourhood, place: usize) -> Result<Option<Met>, Obstacle> {
    if let Some(target) = around.target(place) {
        return Ok(Some(Met { place, target, bias: None }));
    }
    // A MatMul plus a constant.
    let Some((product, ..)) = around.with_constant(place, "Add") else { return Ok(None) };
    let Some(maker) = around.maker(product).filter(|&maker| around.target(maker) == Some(Target::MatMul)) else {
        return Ok(None);
    };
    around.not_shared(product, || format!("the output of {}", around.title(maker)))?;
    Ok(Some(Met { place: maker, target: Target::MatMul, bias: Some(place) }))
}

/// Checks that the layer takes the norm, and the nodes between them let it through.
fn fits(
    around: &Neighbourhood,
    met: Met,
    through: Vec<usize>,
    channels: usize,
    shifts: bool,
) -> Result<Fold, Obstacle> {
    let Met { place, target, bias } = met;
    let no = |reason: Reason| Err(Obstacle::Reason(reason));
    let title = || around.title(place);
    let given = match target {
        Target::BatchNorm => of_batch_norm(around, place)?,
        _ => around.outputs(place, target, &around.weights(place, target)?),
    };
    if given != Some(channels) {
        return no(Reason::Channels(title()));
    }
    let mut rows = target == Target::Gemm;
    if target == Target::MatMul {
        let output = around.node(place).output(0).unwrap_or_default();
        rows = match around.shapes.axes(output) {
            Some(2) => true,
            Some(_) => return no(Reason::Channels(title())),
            None => return no(Reason::Axes(title())),
        };
    }
    if matches!(target, Target::Gemm | Target::MatMul) && !around.has_a_number_for_each_column(place, bias, channels) {
        return no(Reason::Weights(format!("what is added to {} is no number for each column", title())));
    }
    for &between in &through {
        let node = around.node(between);
        match passing(node, &around.shapes, around.opset, channels, rows) {
            Some(Passing::Kept) => {}
            // (The norm has as many channels as the layer: so each example has one number a channel.)
            Some(Passing::Flattened | Passing::Single) => rows = true,
            Some(Passing::Padded) if !shifts => {}
            Some(Passing::Padded) => return no(Reason::Padding(node.title())),
            Some(Passing::Moved) | None => return no(Reason::Moves(node.title())),
        }
    }
    Ok(Fold { into: place, side: Side::Behind, target, through, bias })
}

/// The channels of a batch norm in front of this one, which takes it if it goes by its running statistics.
fn of_batch_norm(around: &Neighbourhood, place: usize) -> Result<Option<usize>, Obstacle> {
    let node = around.node(place);
    let no = |reason: Reason| Err(Obstacle::Reason(reason));
    let Some(norm) = BatchNorm::of(node, around.opset) else { return Ok(None) };
    if norm.training {
        return no(Reason::Weights(format!("{} normalises by the batch", node.title())));
    }
    if norm.by_position || norm.parameters.iter().any(|name| name.is_none_or(|name| !around.constants.has(name))) {
        return no(Reason::Weights(format!("the parameters of {} are no constants of its channels", node.title())));
    }
    let shape = norm.parameters[0].and_then(|name| around.constants.shape(name));
    Ok(shape.and_then(|shape| values_of(&shape)))
}
