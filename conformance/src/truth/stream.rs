//! Batch norm of arrays too large to be held in double-double: sums in sweeps over recipes, and outputs at their probes.

use batchnorm::reference::Real;

use super::number::{D, d, largest};
use super::output::{Truth, Truths, probes};
use crate::case::Problem;
use crate::kinds::Role;

/// Statistics, gradient sums and their scales, of one channel of arrays made by recipes.
struct Channel {
    mean: D,
    variance: D,
    inverse: D,
    dbeta: D,
    dgamma: D,
    dgamma_scale: f64,
    dbeta_scale: f64,
    largest_dy: f64,
}

pub fn of(problem: &Problem) -> (Truths, f64) {
    let input = &problem.inputs["x"];
    let shape = &input.shape;
    let (count, axis) = (shape.iter().product::<usize>(), problem.channel_axis());
    let channels = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    assert!(problem.roles.contains(&Role::Sample) && !problem.inputs.contains_key("weights"));
    let parameter = |name: &str, absent: f64| problem.given(name).unwrap_or_else(|| vec![absent; channels]);
    let (gamma, beta) = (parameter("gamma", 1.0), parameter("beta", 0.0));
    let element = problem.element;
    let value = |name: &str, i: usize| {
        problem.inputs.get(name).and_then(|input| input.recipe).map(|recipe| element.round(recipe.value(i)))
    };
    let x = |i: usize| value("x", i).expect("every problem has an x");
    let dy = |i: usize| value("dy", i).unwrap_or(0.0);
    let n = d((count / channels) as f64);
    let statistics: Vec<Channel> = (0..channels)
        .map(|c| {
            let places = || (0..count).filter(move |i| i / inner % channels == c);
            let mean = places().fold(d(0.0), |sum, i| sum + d(x(i))) / n;
            let squares = places().fold(d(0.0), |sum, i| {
                let centered = d(x(i)) - mean;
                sum + centered * centered
            });
            let variance = squares / n;
            let inverse = d(1.0) / (variance + d(problem.epsilon)).sqrt();
            let (mut dbeta, mut dgamma) = (d(0.0), d(0.0));
            let (mut dgamma_scale, mut dbeta_scale, mut largest_dy) = (0.0, 0.0, 0.0f64);
            for i in places() {
                let dy = dy(i);
                let product = d(dy) * (d(x(i)) - mean);
                dbeta = dbeta + d(dy);
                dgamma = dgamma + product;
                dgamma_scale += product.to_f64().abs();
                dbeta_scale += dy.abs();
                largest_dy = largest_dy.max(dy.abs());
            }
            let dgamma_scale = dgamma_scale * inverse.to_f64();
            Channel { mean, variance, inverse, dbeta, dgamma: dgamma * inverse, dgamma_scale, dbeta_scale, largest_dy }
        })
        .collect();

    let vector = |values: Vec<D>, scale: Vec<f64>| {
        let shape = vec![values.len()];
        Truth { shape: shape.clone(), values, alternative: None, scale_shape: shape, scale }
    };
    let values = |value: &dyn Fn(&Channel) -> D| statistics.iter().map(value).collect::<Vec<D>>();
    let scales = |scale: &dyn Fn(&Channel) -> f64| statistics.iter().map(scale).collect::<Vec<f64>>();
    let places = probes(count);
    let at_probes = |value: &dyn Fn(usize, usize) -> D, scale: &dyn Fn(usize) -> f64| {
        let channel = |i: usize| i / inner % channels;
        let values = places.iter().map(|&i| value(i, channel(i))).collect();
        vector(values, places.iter().map(|&i| scale(channel(i))).collect())
    };
    let mut truths = Truths::new();
    let mut insert = |name: &str, truth| truths.insert(name.to_string(), truth);
    let epsilon = problem.epsilon;
    insert(
        "mean",
        vector(values(&|channel| channel.mean), scales(&|channel| (channel.variance.to_f64() + epsilon).sqrt())),
    );
    insert("variance", vector(values(&|channel| channel.variance), scales(&|channel| channel.variance.to_f64())));
    let normalized = |i: usize, c: usize| (d(x(i)) - statistics[c].mean) * statistics[c].inverse;
    insert("y", at_probes(&|i, c| d(gamma[c]) * normalized(i, c) + d(beta[c]), &|c| beta[c].abs()));
    if problem.inputs.contains_key("dy") {
        insert("dgamma", vector(values(&|channel| channel.dgamma), scales(&|channel| channel.dgamma_scale)));
        insert("dbeta", vector(values(&|channel| channel.dbeta), scales(&|channel| channel.dbeta_scale)));
        let dx = |i: usize, c: usize| {
            let centered = d(dy(i)) - statistics[c].dbeta / n - normalized(i, c) * statistics[c].dgamma / n;
            d(gamma[c]) * statistics[c].inverse * centered
        };
        insert("dx", at_probes(&dx, &|c| gamma[c].abs() * statistics[c].inverse.to_f64() * statistics[c].largest_dy));
    }
    (truths, largest(statistics.iter().map(|channel| channel.mean.to_f64() * channel.inverse.to_f64())))
}
