//! Layer, group, instance and RMS norms, row by row: a row holds the values that are normalised together.

use batchnorm::reference::whole::{By, Norm as Twin, repeated};
use batchnorm::reference::{Real, compact};

use super::number::{D, d, is_open, largest, wide};
use super::output::{Truth, Truths};
use crate::case::{Activation, Norm, Problem};
use crate::kinds::Element;

pub fn of(problem: &Problem) -> (Truths, f64) {
    let input = &problem.inputs["x"];
    let (x, shape, rows) = (input.to_f64(), &input.shape, problem.rows(&input.shape));
    let (count, parameters) = (x.len(), rows.parameters());
    let parameter = |name: &str, absent: f64| problem.given(name).unwrap_or_else(|| vec![absent; parameters]);
    let (gamma, beta) = (parameter("gamma", 1.0), parameter("beta", 0.0));
    let weights = problem.inputs.get("weights").map(|input| repeated(&input.to_f64(), &input.shape, shape));
    let weight = |place: usize| weights.as_ref().map_or(1.0, |weights| weights[place]);
    let counting: Vec<Vec<usize>> =
        rows.all().into_iter().map(|row| row.into_iter().filter(|&place| weight(place) > 0.0).collect()).collect();
    let dy = problem.given("dy");
    let mut upstream = dy.clone().unwrap_or_else(|| vec![0.0; count]);

    let rms = matches!(problem.norm, Norm::Rms { .. } | Norm::GroupRms { .. });
    let epsilon = d(problem.epsilon);
    let by = match (&weights, rms) {
        (None, false) => By::Row,
        (None, true) => By::MeanSquare,
        (Some(weights), false) => By::Weights(weights),
        (Some(weights), true) => By::WeightedMeanSquare(weights),
    };
    let twin = Twin { rows: &rows, by, epsilon };
    let (wide_x, wide_gamma) = (wide(&x), wide(&gamma));
    let normalized = twin.normalized(&wide_x);
    let mut y = twin.forward(&wide_x, &wide_gamma, &wide(&beta));
    let is_constant = |places: &[usize]| places.iter().all(|&place| x[place] == if rms { 0.0 } else { x[places[0]] });
    for places in counting.iter().filter(|places| is_constant(places)) {
        places.iter().for_each(|&place| y[place] = d(beta[rows.parameter(place)]));
    }
    if problem.activation == Some(Activation::Relu) {
        rectify(&mut y, &mut upstream, problem.element);
    }
    let by_formula = twin.backward(&wide_x, &wide_gamma, &wide(&upstream)).dx;
    let mut dx = by_formula.clone();

    let (mut y_scale, mut dx_scale) = (vec![0.0; count], vec![0.0; count]);
    let (mut dgamma, mut dbeta) = (vec![d(0.0); parameters], vec![d(0.0); parameters]);
    let (mut products, mut sums) = (vec![0.0; parameters], vec![0.0; parameters]);
    let (mut has_derivative, mut ratio) = (false, 0.0f64);
    for places in counting {
        let constant = is_constant(&places);
        let healthy = places.iter().all(|&place| x[place].is_finite());
        let values: Vec<D> = places.iter().map(|&place| wide_x[place]).collect();
        let (mean, variance) = match &weights {
            None => {
                let moments = compact::forward(&values, d(1.0), d(0.0), epsilon);
                (moments.mean, moments.variance)
            }
            Some(_) => {
                let total = places.iter().fold(d(0.0), |sum, &place| sum + d(weight(place)));
                let mean = |term: &dyn Fn(D) -> D| {
                    let terms = places.iter().zip(&values).map(|(&place, &x)| d(weight(place)) * term(x));
                    terms.fold(d(0.0), |sum, term| sum + term) / total
                };
                let center = mean(&|x| x);
                (center, if rms { mean(&|x| x * x) } else { mean(&|x| (x - center) * (x - center)) })
            }
        };
        let inverse = if rms && weights.is_none() {
            let square = values.iter().fold(d(0.0), |sum, &x| sum + x * x) / d(values.len() as f64);
            1.0 / (square + epsilon).sqrt().to_f64()
        } else {
            (d(1.0) / (variance + epsilon).sqrt()).to_f64()
        };
        if healthy && !constant {
            ratio = ratio.max(mean.to_f64().abs() * inverse);
        }
        let largest_gamma = largest(places.iter().map(|&place| gamma[rows.parameter(place)]));
        let scaled = largest_gamma * inverse * largest(places.iter().map(|&place| upstream[place]));
        for place in places {
            let (at, dy) = (rows.parameter(place), d(upstream[place]));
            if constant {
                // A row of equal values passes no gradient back, by declaration. The formula's derivative is as right.
                dx[place] = d(0.0);
                has_derivative |= problem.epsilon > 0.0;
            }
            // Errors of y go by y, but at least by the terms of its sum: by beta, and in f64 by gamma xhat, of gamma's
            // size.
            y_scale[place] = beta[at].abs().max(if problem.element.is_wide() { gamma[at].abs() } else { 0.0 });
            dx_scale[place] = if !healthy || constant && problem.epsilon == 0.0 { 0.0 } else { scaled };
            let product = if constant { d(0.0) } else { dy * normalized[place] };
            dgamma[at] = dgamma[at] + product;
            dbeta[at] = dbeta[at] + dy;
            products[at] += product.to_f64().abs();
            sums[at] += dy.to_f64().abs();
        }
    }
    let elements = |values: Vec<D>, scale: Vec<f64>| Truth {
        shape: shape.clone(),
        values,
        alternative: None,
        scale_shape: shape.clone(),
        scale,
    };
    let sums_of_parameters = |values: Vec<D>, scale: Vec<f64>| {
        // Sums with NaN in them are not judged.
        let scale = scale.into_iter().map(|scale| if scale.is_nan() { f64::INFINITY } else { scale }).collect();
        let values = values.into_iter().map(|value| if value.to_f64().is_nan() { d(0.0) } else { value }).collect();
        let shape = rows.parameter_shape().to_vec();
        Truth { shape: shape.clone(), values, alternative: None, scale_shape: shape, scale }
    };
    let mut truths = Truths::from([("y".to_string(), elements(y, y_scale))]);
    if dy.is_some() {
        let alternative = has_derivative.then_some(by_formula);
        truths.insert("dx".to_string(), Truth { alternative, ..elements(dx, dx_scale) });
        truths.insert("dgamma".to_string(), sums_of_parameters(dgamma, products));
        truths.insert("dbeta".to_string(), sums_of_parameters(dbeta, sums));
    }
    (truths, ratio)
}

/// Cuts y off at 0, and the upstream gradient where y is cut off.
fn rectify(y: &mut [D], upstream: &mut [f64], element: Element) {
    let most = largest(y.iter().map(|y| y.to_f64()));
    for (y, upstream) in y.iter_mut().zip(upstream) {
        if !is_open(y, most, element) {
            (*y, *upstream) = (d(0.0), 0.0);
        }
    }
}
