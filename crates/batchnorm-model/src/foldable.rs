//! Whether a batch norm can go into a layer beside it, and if not, why.
//!
//! A batch norm in use multiplies each channel by a = gamma / sqrt(variance + eps) and adds beta - a mean. Behind a linear layer that is a
//! change of the layer's weights and bias; in front of one too, where the layer does not pad what the norm has shifted. Nodes between the
//! two are gone through where they leave each channel's numbers to themselves.

mod before;
mod behind;
mod neighbourhood;
mod passing;
mod verdict;

use batchnorm::scale_and_shift;

use crate::onnx::{BatchNorm, Constants, Graph, Shapes, User, Uses};
use crate::parameters::Parameters;
use neighbourhood::{Neighbourhood, Obstacle};
pub use verdict::{Fold, Reason, Side, Target, Verdict};

/// A graph whose batch norms are judged.
pub struct Judge<'g, 'f>(Neighbourhood<'g, 'f>);

/// A multiplication and an addition for each channel, as a batch norm is exported whose statistics are frozen: Mul, and Add behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen<'f> {
    /// The place of the Mul.
    pub mul: usize,
    /// The place of the Add.
    pub add: usize,
    /// The input of the two.
    pub input: &'f str,
    /// The constant that is multiplied by.
    pub scale: &'f str,
    /// The constant that is added.
    pub shift: &'f str,
    /// Where they go.
    pub fold: Fold,
}

impl<'g, 'f> Judge<'g, 'f> {
    /// The batch norms of a graph are judged by its constants and by who uses what.
    pub fn new(
        graph: &'g Graph<'f>,
        constants: &'g Constants<'g, 'f>,
        uses: &'g Uses<'f>,
        opset: i64,
    ) -> Judge<'g, 'f> {
        Judge(Neighbourhood { graph, constants, uses, shapes: Shapes::of(graph, uses, constants, opset), opset })
    }

    /// What can be done with the batch norm at a place of the graph, whose parameters are given, or why they cannot be read.
    pub fn judge(&self, place: usize, norm: &BatchNorm<'f>, parameters: Result<&Parameters, &str>) -> Verdict {
        self.fold(place, norm, parameters).map_or_else(Verdict::Kept, Verdict::Foldable)
    }

    /// What ends in an Add, if it is a multiplication and an addition for each channel right behind a convolution that takes both.
    pub fn frozen(&self, add: usize) -> Option<Frozen<'f>> {
        // (Before version 7 the two had an axis of their own.)
        if self.0.opset < 7 {
            return None;
        }
        let (product, shift, _) = self.0.with_constant(add, "Add")?;
        let mul = self.0.maker(product)?;
        let (input, scale, _) = self.0.with_constant(mul, "Mul")?;
        if !matches!(self.0.uses.users(product), [User::Node { .. }]) {
            return None;
        }
        let layer = self.0.maker(input)?;
        let target = self.0.target(layer).filter(|target| matches!(target, Target::Conv | Target::ConvTranspose))?;
        let weights = self.0.weights(layer, target).ok()?;
        let channels = self.0.outputs(layer, target, &weights)?;
        // A number for each channel, on the axis of channels: [C, 1, 1] or [1, C, 1, 1] for pictures.
        let is_of_channels = |name: &str| {
            let shape = self.0.constants.shape(name).unwrap_or_default();
            let (first, behind) = shape.split_at(shape.len().saturating_sub(weights.len() - 2));
            let of_channels = *first == [channels as i64] || *first == [1, channels as i64];
            of_channels && behind.len() == weights.len() - 2 && behind.iter().all(|length| *length == 1)
        };
        if !(is_of_channels(scale) && is_of_channels(shift)) {
            return None;
        }
        let fold = behind::find(&self.0, Some(input), channels, true).ok()?;
        Some(Frozen { mul, add, input, scale, shift, fold })
    }

    /// The kind of layer that a node is, if it is one.
    pub(crate) fn target(&self, place: usize) -> Option<Target> {
        self.0.target(place)
    }

    /// The Add behind a MatMul that adds a number for each column, and which of its inputs these are.
    pub(crate) fn bias_of_product(&self, place: usize, columns: usize) -> Option<(usize, usize)> {
        self.0.bias_of_product(place, columns)
    }

    /// The number of a value's axes, where it is known.
    pub(crate) fn axes(&self, value: &str) -> Option<usize> {
        self.0.shapes.axes(value)
    }

    fn fold(&self, place: usize, norm: &BatchNorm<'f>, parameters: Result<&Parameters, &str>) -> Result<Fold, Reason> {
        if norm.training {
            return Err(Reason::Training);
        }
        if norm.by_position {
            return Err(Reason::ByPosition);
        }
        if self.0.node(place).outputs.iter().skip(1).any(|output| !output.text.is_empty()) {
            return Err(Reason::Statistics);
        }
        let parameters = parameters.map_err(|why| Reason::Parameters(why.to_owned()))?;
        let shifts = shifts(parameters, f64::from(norm.epsilon))?;
        let channels = parameters.channels();
        let behind = match behind::find(&self.0, self.0.node(place).input(0), channels, shifts) {
            Ok(fold) => return Ok(fold),
            Err(obstacle) => obstacle,
        };
        let before = match before::find(&self.0, place, channels, shifts) {
            Ok(fold) => return Ok(fold),
            Err(obstacle) => obstacle,
        };
        // (What is nearly possible says more than that there is nothing.)
        Err(match (behind, before) {
            (Obstacle::Reason(reason), _) | (_, Obstacle::Reason(reason)) => reason,
            (Obstacle::Else(behind), Obstacle::Else(before)) => Reason::Neighbours { behind, before },
        })
    }
}

/// Tells whether a norm adds anything but 0.
fn shifts(parameters: &Parameters, epsilon: f64) -> Result<bool, Reason> {
    let [mut gamma, mut beta] =
        [(&parameters.gamma, 1.0), (&parameters.beta, 0.0)].map(|(numbers, none)| match numbers {
            Some(numbers) => numbers.iter(),
            None => Box::new(std::iter::repeat(none)),
        });
    let mut shifts = false;
    for (channel, (mean, variance)) in parameters.mean.iter().zip(parameters.variance.iter()).enumerate() {
        let (gamma, beta) = (gamma.next().unwrap_or(1.0), beta.next().unwrap_or(0.0));
        let (scale, shift) = scale_and_shift(gamma, beta, mean, variance, epsilon);
        let finite = [gamma, beta, mean, variance, scale, shift].iter().all(|number| number.is_finite());
        if !(finite && variance + epsilon > 0.0) {
            let why = format!(
                "channel {channel} is not finite (gamma {gamma:?}, beta {beta:?}, mean {mean:?}, variance {variance:?}, epsilon {epsilon:?})"
            );
            return Err(Reason::Parameters(why));
        }
        shifts |= shift != 0.0;
    }
    Ok(shifts)
}
