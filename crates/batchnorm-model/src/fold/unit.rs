//! A layer with the norms that go into it.

use super::affine::Affine;
use super::linear::{Linear, Rows};

/// A layer, the norm in front of it, and those behind it from the nearest on.
#[derive(Debug)]
pub(super) struct Unit {
    pub linear: Linear,
    pub weights: Vec<f64>,
    /// What is added to each output; zeros where the layer has no bias.
    pub bias: Vec<f64>,
    pub before: Option<Affine>,
    pub behind: Vec<Affine>,
}

/// A layer's numbers with its norms in them, before they are rounded.
#[derive(Debug, Clone)]
pub(super) struct Exact {
    pub weights: Vec<f64>,
    pub bias: Vec<f64>,
}

impl Unit {
    /// The channel of the norm in front that an input is of: several inputs are of one where an example became a row.
    fn channel(&self, input: usize, before: &Affine) -> usize {
        input / (self.linear.inputs() / before.channels())
    }

    /// The norms in the layer, in f64: w = w scale_before scale_behind, b = (b + sum w shift_before) scale_behind + shift_behind.
    pub fn exact(&self) -> Exact {
        let (mut weights, mut bias) = (self.weights.clone(), self.bias.clone());
        if let Some(before) = &self.before {
            let (scale, shift) = before.scales_and_shifts();
            for (places, output, input) in self.linear.blocks() {
                let channel = self.channel(input, before);
                for weight in &mut weights[places] {
                    bias[output] += self.linear.alpha * *weight * shift[channel];
                    *weight *= scale[channel];
                }
            }
        }
        for behind in &self.behind {
            let (scale, shift) = behind.scales_and_shifts();
            match self.linear.rows() {
                Rows::OfAnOutput(length) => {
                    for (row, scale) in weights.chunks_mut(length.max(1)).zip(&scale) {
                        row.iter_mut().for_each(|weight| *weight *= scale);
                    }
                }
                Rows::OfAllOutputs => {
                    for row in weights.chunks_mut(self.linear.outputs().max(1)) {
                        row.iter_mut().zip(&scale).for_each(|(weight, scale)| *weight *= scale);
                    }
                }
                Rows::Else => {
                    for (places, output, _) in self.linear.blocks() {
                        weights[places].iter_mut().for_each(|weight| *weight *= scale[output]);
                    }
                }
            }
            for (output, bias) in bias.iter_mut().enumerate() {
                *bias = *bias * scale[output] + shift[output];
            }
        }
        Exact { weights, bias }
    }
}
