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

use crate::onnx::{BatchNorm, Constants, Graph, Shapes, Uses};
use crate::parameters::Parameters;
use neighbourhood::{Neighbourhood, Obstacle};
pub use verdict::{Fold, Reason, Side, Target, Verdict};

/// A graph whose batch norms are judged.
pub struct Judge<'g, 'f>(Neighbourhood<'g, 'f>);

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

    fn fold(&self, place: usize, norm: &BatchNorm<'f>, parameters: Result<&Parameters, &str>) -> Result<Fold, Reason> {
        if norm.training {
            return Err(Reason::Training);
        }
        if norm.by_position {
            return Err(Reason::ByPosition);
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
        if !(scale.is_finite() && shift.is_finite() && variance + epsilon > 0.0) {
            let why = format!(
                "channel {channel} has no finite scale and shift (mean {mean:?}, variance {variance:?}, epsilon {epsilon:?})"
            );
            return Err(Reason::Parameters(why));
        }
        shifts |= shift != 0.0;
    }
    Ok(shifts)
}
