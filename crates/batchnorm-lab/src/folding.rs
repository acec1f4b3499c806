//! A network beside itself with its batch norms folded: what changes, and what time it takes.

use std::time::Instant;

use burn::tensor::Tensor;

use crate::data::DataError;
use crate::network::Network;
use crate::training::best;

/// Passes of each of the two networks that are timed, one after the other.
const PASSES: usize = 21;

/// What folding came to on some examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Folding {
    /// The largest change of a score.
    pub change: f64,
    /// The largest score of the network as it is, by its size.
    pub score: f64,
    /// Examples that are put in another class.
    pub changed: usize,
    /// Time of a pass of the folded network over that of the network as it is: the median of pairs of passes.
    pub time: f64,
}

impl Folding {
    /// Runs both networks on portions of inputs, and times them on the first one.
    pub fn of(
        network: &Network,
        folded: &Network,
        portions: impl Iterator<Item = Result<Tensor<2>, DataError>>,
    ) -> Result<Folding, DataError> {
        let mut found = Folding { change: 0.0, score: 0.0, changed: 0, time: f64::NAN };
        for portion in portions {
            let inputs = portion?;
            let scores = |network: &Network| {
                let scores = network.forward_eval(inputs.clone()).scores;
                let classes = scores.dims()[1];
                (scores.into_data().iter::<f32>().collect::<Vec<f32>>(), classes)
            };
            let ((as_it_is, classes), (with_folded, _)) = (scores(network), scores(folded));
            for (one, other) in as_it_is.iter().zip(&with_folded) {
                found.change = found.change.max((f64::from(*one) - f64::from(*other)).abs());
                found.score = found.score.max(f64::from(one.abs()));
            }
            let examples = as_it_is.chunks(classes).zip(with_folded.chunks(classes));
            found.changed += examples.filter(|(one, other)| best(one) != best(other)).count();
            if found.time.is_nan() {
                found.time = time(network, folded, &inputs);
            }
        }
        Ok(found)
    }
}

/// Time of the second network over that of the first. Their passes take turns, and the order within a pair does too, so that what else the machine does
/// meets both.
fn time(network: &Network, folded: &Network, inputs: &Tensor<2>) -> f64 {
    let seconds = |network: &Network| {
        let begun = Instant::now();
        // Until its numbers are there.
        let scores = network.forward_eval(inputs.clone()).scores.into_data();
        let seconds = begun.elapsed().as_secs_f64();
        drop(scores);
        seconds
    };
    let mut ratios: Vec<f64> = (0..PASSES)
        .map(|pair| {
            let first = if pair % 2 == 0 { network } else { folded };
            let second = if pair % 2 == 0 { folded } else { network };
            let (first, second) = (seconds(first), seconds(second));
            if pair % 2 == 0 { second / first } else { first / second }
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[PASSES / 2]
}
