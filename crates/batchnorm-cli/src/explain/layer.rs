//! The library's layer on what is explained: the kernels' values beside the graph's.

use super::subject::Subject;
use crate::failure::Failure;
use crate::layer_name::LayerName;
use batchnorm::{
    Axes, Config, ConstantChannel, Grouping, ParameterGradients, Parameters, Policies, RunningStatistics, SampleConfig,
    View, ViewMut,
};
use std::error::Error;

/// The layer's outputs and gradients.
pub struct Outcome {
    /// Mean and population variance, where the layer tells them.
    pub statistics: Option<[f64; 2]>,
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    /// One for each parameter that these values have, in the order of their first use.
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
}

/// Forward and backward. Of values that are all alike it takes the formula's derivative, not the 0 that the layer declares
/// by default.
pub fn run(subject: &Subject) -> Result<Outcome, Failure> {
    match subject.layer {
        LayerName::Batch => of_feature(subject),
        _ => of_row(subject),
    }
    .map_err(Failure::input)
}

/// The feature is an array of one channel: a channel's bits depend on nothing else.
fn of_feature(subject: &Subject) -> Result<Outcome, Box<dyn Error>> {
    let Subject { x, dy, gamma, beta, epsilon, running, .. } = subject;
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let normalizer = Config::pytorch().epsilon(*epsilon).policies(policies).normalizer()?;
    let shape = [x.len(), 1];
    let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let x = View::new(x, &shape, Axes::NCHW)?;
    let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW)?;
    let (saved, statistics) = match running {
        None => {
            let (saved, batch) = normalizer.train(&x, parameters, None, &mut out)?;
            let moments = batch.channels()[0];
            (saved, [moments.mean(), moments.population_variance()])
        }
        Some([mean, variance]) => {
            let statistics = RunningStatistics::from_parts(&[*mean], &[*variance], 0)?;
            (normalizer.eval(&x, parameters, Some(&statistics), &mut out)?, [*mean, *variance])
        }
    };
    let dy = View::new(dy, &shape, Axes::NCHW)?;
    let ParameterGradients { dgamma, dbeta } =
        saved.backward(&x, &dy, &mut ViewMut::new(&mut dx, &shape, Axes::NCHW)?)?;
    Ok(Outcome { statistics: Some(statistics), y, dx, dgamma, dbeta })
}

/// The row is a sample of its own, in one group.
fn of_row(subject: &Subject) -> Result<Outcome, Box<dyn Error>> {
    let Subject { layer, x, dy, gamma, beta, epsilon, positions, .. } = subject;
    let (shape, grouping) = match layer {
        LayerName::Group => (vec![1, x.len() / positions, *positions], Grouping::Group { groups: 1 }),
        LayerName::Instance => (vec![1, 1, x.len()], Grouping::Instance),
        LayerName::Rms => (vec![1, x.len()], Grouping::Rms { axes: 1 }),
        LayerName::Norm | LayerName::Batch => (vec![1, x.len()], Grouping::Layer { axes: 1 }),
    };
    let config = SampleConfig::of(grouping).epsilon(*epsilon);
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..config.policies };
    let normalizer = config.policies(policies).normalizer()?;
    // One of each channel.
    let of_layer = |values: &[f64]| -> Vec<f64> { values.iter().step_by(*positions).copied().collect() };
    let (gamma, beta) = (of_layer(gamma), of_layer(beta));
    let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let x = View::new(x, &shape, Axes::NCHW)?;
    let saved = normalizer.forward(&x, parameters, &mut ViewMut::new(&mut y, &shape, Axes::NCHW)?)?;
    let dy = View::new(dy, &shape, Axes::NCHW)?;
    let ParameterGradients { dgamma, dbeta } =
        saved.backward(&x, &dy, &mut ViewMut::new(&mut dx, &shape, Axes::NCHW)?)?;
    Ok(Outcome { statistics: None, y, dx, dgamma, dbeta })
}
