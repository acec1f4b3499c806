//! From a batch norm on to the layer that it stands in front of: the scale goes into that layer's weights, the shift through them
//! into its bias.

use super::neighbourhood::{LONGEST, Neighbourhood, Obstacle, is_quantisation};
use super::passing::{Passing, passing};
use super::verdict::{Fold, Reason, Side, Target};
use crate::excerpt::excerpt;
use crate::onnx::{Node, User};

/// The layer that the batch norm at a place stands in front of. `shifts` tells whether it adds anything but 0.
pub(super) fn find(around: &Neighbourhood, norm: usize, channels: usize, shifts: bool) -> Result<Fold, Obstacle> {
    let no = |reason: Reason| Err(Obstacle::Reason(reason));
    let nothing = || Obstacle::Else(String::from("nothing"));
    let mut value = around.node(norm).output(0).ok_or_else(nothing)?;
    let mut rows = around.node(norm).input(0).and_then(|input| around.shapes.axes(input)) == Some(2);
    let mut side_by_side = false;
    let mut through = Vec::new();
    for _ in 0..LONGEST {
        let takers = around.takers(value);
        let place = match takers[..] {
            [User::Node { node, input: 0 }] => node as usize,
            [] => return Err(nothing()),
            _ => return Err(Obstacle::Else(listed(around, &takers))),
        };
        let node = around.node(place);
        if let Some(target) = around.target(place).filter(|target| *target != Target::BatchNorm) {
            let weights = around.weights(place, target)?;
            let taken = around.inputs(place, target, &weights);
            let is_matrix = matches!(target, Target::Gemm | Target::MatMul);
            // (Gemm takes two axes alone.)
            match around.shapes.axes(value) {
                Some(2) => {}
                _ if target != Target::MatMul => {}
                Some(_) => return no(Reason::Channels(node.title())),
                None => return no(Reason::Axes(node.title())),
            }
            if node.int("transA").unwrap_or(0) != 0 {
                return no(Reason::Moves(node.title()));
            }
            let fits = match taken {
                Some(taken) if side_by_side => taken >= channels && taken % channels == 0,
                taken => taken == Some(channels),
            };
            if !fits || (side_by_side && !is_matrix) {
                return no(Reason::Channels(node.title()));
            }
            if let Some(columns) = around.outputs(place, target, &weights).filter(|_| target == Target::Gemm)
                && !around.has_a_number_for_each_column(place, None, columns)
            {
                return no(Reason::Weights(format!("what is added to {} is no number for each column", node.title())));
            }
            if shifts && target == Target::ConvTranspose {
                return no(Reason::Edges(node.title()));
            }
            if shifts && pads(node) {
                return no(Reason::Padding(node.title()));
            }
            return Ok(Fold { into: place, side: Side::Before, target, through, bias: None });
        }
        if is_quantisation(node) {
            return no(Reason::Quantised(node.title()));
        }
        let Some(passing) = passing(node, &around.shapes, around.opset, channels, rows) else {
            return Err(Obstacle::Else(excerpt(node.operator)));
        };
        match passing {
            Passing::Kept if side_by_side && node.is_one_of(&["Reshape", "Squeeze", "Unsqueeze"]) => {
                return no(Reason::Moves(node.title()));
            }
            Passing::Kept => {}
            Passing::Padded if shifts => return no(Reason::Padding(node.title())),
            Passing::Padded if side_by_side => return no(Reason::Moves(node.title())),
            Passing::Padded => {}
            Passing::Single => rows = true,
            Passing::Flattened => (side_by_side, rows) = (side_by_side || !rows, true),
            Passing::Moved => return no(Reason::Moves(node.title())),
        }
        through.push(place);
        value = node.output(0).ok_or_else(nothing)?;
    }
    Err(Obstacle::Else(String::from("nodes that change nothing, without end")))
}

/// Tells whether a convolution pads.
fn pads(node: &Node) -> bool {
    let by_rule = node.bytes("auto_pad").is_some_and(|rule| rule.starts_with(b"SAME"));
    by_rule || (node.is("Conv") && node.ints("pads").is_some_and(|pads| pads.iter().any(|&pad| pad != 0)))
}

/// What takes a value, in words.
fn listed(around: &Neighbourhood, takers: &[User]) -> String {
    let word = |user: &User| match user {
        User::Node { node, .. } => excerpt(around.node(*node as usize).operator),
        User::Output => String::from("an output of the graph"),
        User::Inner => String::from("a graph within a node"),
    };
    let mut words: Vec<String> = takers.iter().take(3).map(word).collect();
    words.dedup();
    if takers.len() > 3 {
        words.push(String::from("others"));
    }
    words.join(", ")
}
