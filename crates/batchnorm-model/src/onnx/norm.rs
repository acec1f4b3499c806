//! BatchNormalization of every version of the operator.

use super::message::Node;

/// A node BatchNormalization, by what its version means.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm<'f> {
    /// Added to the variance.
    pub epsilon: f32,
    /// Weight of the old value in the running statistics.
    pub momentum: f32,
    /// It normalises by the batch: `training_mode` 1; before version 14 more outputs than one, before version 7 `is_test` 0.
    pub training: bool,
    /// Its statistics are of each position and not of each channel: `spatial` 0, before version 9.
    pub by_position: bool,
    /// Scale, shift, mean and variance, by the names of their values; none that is left out.
    pub parameters: [Option<&'f str>; 4],
}

impl<'f> BatchNorm<'f> {
    /// The batch norm of a node, if it is one. `opset` is the version of ONNX's operators.
    pub fn of(node: &Node<'f>, opset: i64) -> Option<BatchNorm<'f>> {
        // (Outputs beyond the first one are those of a training. Version 14 names the training, and has them only then.)
        let more = node.outputs.iter().skip(1).any(|output| !output.text.is_empty());
        let training = match opset {
            ..7 => node.int("is_test").unwrap_or(0) == 0,
            7..14 => more,
            _ => node.int("training_mode").unwrap_or(0) != 0,
        };
        node.is("BatchNormalization").then(|| BatchNorm {
            epsilon: node.float("epsilon").unwrap_or(1e-5),
            momentum: node.float("momentum").unwrap_or(0.9),
            training,
            by_position: opset < 9 && node.int("spatial").unwrap_or(1) == 0,
            parameters: [1, 2, 3, 4].map(|at| node.input(at)),
        })
    }
}
