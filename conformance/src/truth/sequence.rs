//! Sequences: several batches in turn, or several layers in a chain.

use batchnorm::reference::compact;

use super::number::{D, d, largest, wide};
use super::output::{Truth, Truths, along};
use super::running::insert_running;
use crate::case::{Estimator, Problem, Update};

/// The values of each channel in every batch.
fn batches(problem: &Problem) -> Vec<Vec<Vec<f64>>> {
    let mut batches = Vec::new();
    while let Some(input) = problem.inputs.get(&format!("x{}", batches.len())) {
        let (rows, x) = (problem.rows(&input.shape), input.to_f64());
        batches.push((0..rows.count()).map(|c| rows.gather(c, &x)).collect());
    }
    batches
}

/// Mean and population variance.
fn moments(x: &[f64]) -> [D; 2] {
    let forward = compact::forward(&wide(x), d(1.0), d(0.0), d(1.0));
    [forward.mean, forward.variance]
}

fn estimated_by(estimator: Estimator, variance: D, count: usize) -> D {
    match estimator {
        Estimator::Sample => variance * d(count as f64) / (d(count as f64) - d(1.0)),
        Estimator::Population => variance,
    }
}

pub fn updates(problem: &Problem) -> (Truths, f64) {
    let Update { weight_of_new, variance: estimator } = problem.update.expect("how they are updated");
    let start = |name: &str| wide(&problem.given(name).expect("where they start"));
    let (mut mean, mut variance) = (start("running_mean"), start("running_variance"));
    let mut ratio = 0.0f64;
    // What the updates of each channel weigh together; of an average that holds its start always 1.
    let mut share = vec![d(if problem.average.is_some() { 0.0 } else { 1.0 }); mean.len()];
    for batch in batches(problem) {
        for (c, x) in batch.iter().enumerate() {
            // A channel with NaN leaves its statistics alone; a batch without values leaves all.
            if x.is_empty() || x.iter().any(|x| !x.is_finite()) {
                continue;
            }
            let [m, v] = moments(x);
            ratio = ratio.max(m.to_f64().abs() / (v.to_f64() + problem.epsilon).sqrt());
            let w = d(weight_of_new);
            let new_share = (d(1.0) - w) * share[c] + w;
            let follow = |old: D, new: D| ((d(1.0) - w) * share[c] * old + w * new) / new_share;
            mean[c] = follow(mean[c], m);
            variance[c] = follow(variance[c], estimated_by(estimator, v, x.len()));
            share[c] = new_share;
        }
    }
    let mut truths = Truths::new();
    insert_running(&mut truths, mean, variance);
    (truths, ratio)
}

pub fn population(problem: &Problem) -> (Truths, f64) {
    let Update { variance: estimator, .. } = problem.update.expect("which variance is meant");
    let mut channels: Vec<Vec<f64>> = Vec::new();
    for batch in batches(problem) {
        channels.resize(batch.len(), Vec::new());
        channels.iter_mut().zip(batch).for_each(|(values, x)| values.extend(x));
    }
    let moments: Vec<[D; 2]> = channels.iter().map(|x| moments(x)).collect();
    let ratio = largest(moments.iter().map(|[m, v]| m.to_f64() / (v.to_f64() + problem.epsilon).sqrt()));
    let variance = moments.iter().zip(&channels).map(|([_, v], x)| estimated_by(estimator, *v, x.len())).collect();
    let mut truths = Truths::new();
    insert_running(&mut truths, moments.iter().map(|[m, _]| *m).collect(), variance);
    (truths, ratio)
}

pub fn chain(problem: &Problem) -> (Truths, f64) {
    let Update { variance: estimator, .. } = problem.update.expect("which variance is meant");
    let input = &problem.inputs["x"];
    let (x, shape) = (input.to_f64(), &input.shape);
    let mut y = vec![d(0.0); x.len()];
    let mut ratio = 0.0f64;
    for channel in problem.rows(shape).all() {
        let mut trained = wide(&channel.iter().map(|&i| x[i]).collect::<Vec<f64>>());
        let mut evaluated = trained.clone();
        for _ in 0..problem.layers {
            let forward = compact::forward(&trained, d(1.0), d(0.0), d(problem.epsilon));
            let variance = estimated_by(estimator, forward.variance, channel.len());
            ratio = ratio.max(forward.mean.to_f64().abs() * forward.inverse_deviation.to_f64());
            evaluated = compact::forward_eval(&evaluated, d(1.0), d(0.0), forward.mean, variance, d(problem.epsilon));
            trained = forward.y;
        }
        channel.iter().zip(evaluated).for_each(|(&i, value)| y[i] = value);
    }
    let axis = problem.channel_axis();
    // y has a deviation of about 1 in every channel.
    let scale = vec![1.0; shape[axis]];
    let truth = Truth { shape: shape.clone(), values: y, alternative: None, scale_shape: along(shape, axis), scale };
    (Truths::from([("y".to_string(), truth)]), ratio)
}
