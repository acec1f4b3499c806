//! Batch norm of arrays too large to be held in double-double: sums in sweeps, and outputs where they are looked at.

use batchnorm::reference::Real;

use super::number::{D, d, largest};
use super::output::{Truth, Truths, probes};
use crate::case::Problem;
use crate::kinds::Role;

/// Sums over one channel of an array that is made by its recipe, and what follows from them.
struct Channel {
    mean: D,
    variance: D,
    inverse: D,
    dbeta: D,
    dgamma: D,
    products: f64,
    sums: f64,
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
    let own: Vec<Channel> = (0..channels)
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
            let (mut products, mut sums, mut largest_dy) = (0.0, 0.0, 0.0f64);
            for i in places() {
                let dy = dy(i);
                let product = d(dy) * (d(x(i)) - mean);
                dbeta = dbeta + d(dy);
                dgamma = dgamma + product;
                products += product.to_f64().abs();
                sums += dy.abs();
                largest_dy = largest_dy.max(dy.abs());
            }
            let products = products * inverse.to_f64();
            Channel { mean, variance, inverse, dbeta, dgamma: dgamma * inverse, products, sums, largest_dy }
        })
        .collect();

    let vector = |values: Vec<D>, scale: Vec<f64>| {
        let shape = vec![values.len()];
        Truth { shape: shape.clone(), values, alternative: None, scale_shape: shape, scale }
    };
    let each = |of: &dyn Fn(&Channel) -> D| own.iter().map(of).collect::<Vec<D>>();
    let scale = |of: &dyn Fn(&Channel) -> f64| own.iter().map(of).collect::<Vec<f64>>();
    let places = probes(count);
    let at_probes = |of: &dyn Fn(usize, usize) -> D, scale: &dyn Fn(usize) -> f64| {
        let channel = |i: usize| i / inner % channels;
        let values = places.iter().map(|&i| of(i, channel(i))).collect();
        vector(values, places.iter().map(|&i| scale(channel(i))).collect())
    };
    let mut truths = Truths::new();
    let mut insert = |name: &str, truth| truths.insert(name.to_string(), truth);
    let epsilon = problem.epsilon;
    insert("mean", vector(each(&|own| own.mean), scale(&|own| (own.variance.to_f64() + epsilon).sqrt())));
    insert("variance", vector(each(&|own| own.variance), scale(&|own| own.variance.to_f64())));
    let normalized = |i: usize, c: usize| (d(x(i)) - own[c].mean) * own[c].inverse;
    insert("y", at_probes(&|i, c| d(gamma[c]) * normalized(i, c) + d(beta[c]), &|c| beta[c].abs()));
    if problem.inputs.contains_key("dy") {
        insert("dgamma", vector(each(&|own| own.dgamma), scale(&|own| own.products)));
        insert("dbeta", vector(each(&|own| own.dbeta), scale(&|own| own.sums)));
        let dx = |i: usize, c: usize| {
            let centered = d(dy(i)) - own[c].dbeta / n - normalized(i, c) * own[c].dgamma / n;
            d(gamma[c]) * own[c].inverse * centered
        };
        insert("dx", at_probes(&dx, &|c| gamma[c].abs() * own[c].inverse.to_f64() * own[c].largest_dy));
    }
    (truths, largest(own.iter().map(|own| own.mean.to_f64() * own.inverse.to_f64())))
}
