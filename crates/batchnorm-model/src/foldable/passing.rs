//! Nodes between a batch norm and a layer, and what they do to channels.

use crate::onnx::{Length, Node, Shapes};

/// What a node does to the channels of what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// It leaves them as they are.
    Kept,
    /// It puts zeros beside them, which are no numbers of any channel.
    Padded,
    /// It makes a row of each example, each channel's numbers side by side.
    Flattened,
    /// It makes a row of each example, which has one number a channel.
    Single,
    /// It moves them, or may.
    Moved,
}

/// What a node does to channels; none if it is not one of those that numbers go through unchanged. `rows` tells whether its input has
/// two axes, examples and channels.
pub(super) fn passing(node: &Node, shapes: &Shapes, opset: i64, channels: usize, rows: bool) -> Option<Passing> {
    if node.is("Identity") || (node.is("Dropout") && is_dropout_in_use(node, opset)) {
        Some(Passing::Kept)
    } else if node.is("Pad") {
        Some(padded(node, shapes, opset, rows))
    } else if node.is("Flatten") {
        Some(if node.int("axis").unwrap_or(1) == 1 { Passing::Flattened } else { Passing::Moved })
    } else if node.is("Reshape") {
        Some(shapes.reshaped(node).map_or(Passing::Moved, |lengths| reshaped(&lengths, channels, rows)))
    } else if node.is_one_of(&["Squeeze", "Unsqueeze"]) {
        // Axes behind the channels.
        let behind = shapes.squeezed(node).is_some_and(|axes| axes.iter().all(|&axis| axis >= 2 || axis == -1));
        Some(if behind { Passing::Kept } else { Passing::Moved })
    } else {
        None
    }
}

fn is_dropout_in_use(node: &Node, opset: i64) -> bool {
    match opset {
        ..7 => node.int("is_test").unwrap_or(0) != 0,
        7..12 => true,
        // (The third input turns training on.)
        _ => node.input(2).is_none(),
    }
}

fn padded(node: &Node, shapes: &Shapes, opset: i64, rows: bool) -> Passing {
    let pads = match opset {
        ..2 => node.ints("paddings").map(<[i64]>::to_vec),
        2..11 => node.ints("pads").map(<[i64]>::to_vec),
        _ => node.input(1).and_then(|pads| shapes.whole_numbers(pads)),
    };
    // With axes of their own (opset 18) it is not looked which ones they are.
    let Some(pads) = pads.filter(|pads| pads.len() >= 4 && pads.len() % 2 == 0 && node.input(3).is_none()) else {
        return Passing::Moved;
    };
    let half = pads.len() / 2;
    if [0, 1, half, half + 1].iter().any(|&at| pads[at] != 0) {
        return Passing::Moved;
    }
    if pads.iter().all(|&pad| pad == 0) {
        return Passing::Kept;
    }
    // A row has one number a channel, and would have more.
    if rows {
        return Passing::Moved;
    }
    if matches!(node.bytes("mode"), Some(b"reflect" | b"edge" | b"wrap")) {
        return Passing::Kept;
    }
    let is_zero = match opset {
        ..11 => node.float("value").unwrap_or(0.0) == 0.0,
        _ => node.input(2).is_none_or(|value| shapes.is_zero(value)),
    };
    if is_zero { Passing::Padded } else { Passing::Moved }
}

fn reshaped(lengths: &[Length], channels: usize, rows: bool) -> Passing {
    use Length::{Copied, Fixed, Inferred};
    let fixed = Fixed(channels as i64);
    let Some((first, rest)) = lengths.split_first() else { return Passing::Moved };
    let Some((second, behind)) = rest.split_first() else { return Passing::Moved };
    let examples_stay = *first == Copied;
    let is_of_channels = *second == Copied || *second == fixed;
    if rows {
        // A row has as many numbers as there are channels: they stay in their order if they stay in one axis.
        let ones =
            behind.iter().all(|length| *length == Fixed(1) || (*length == Inferred && examples_stay && is_of_channels));
        let second = is_of_channels || (*second == Inferred && examples_stay);
        let first = examples_stay || (*first == Inferred && rest[0] != Inferred && rest[0] != Copied);
        return if first && second && ones { Passing::Kept } else { Passing::Moved };
    }
    match (examples_stay, is_of_channels, behind) {
        // A column for each channel: no example has more numbers than that.
        (true, true, []) => Passing::Single,
        (true, true, _) => Passing::Kept,
        (true, false, []) => Passing::Flattened,
        _ => Passing::Moved,
    }
}
