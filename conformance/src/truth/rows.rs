//! Layer, group, instance and RMS norm, row by row: a row holds the values that are normalised together.

use batchnorm::reference::{Real, compact, rows};

use super::number::{D, d, largest, wide};
use super::output::{Truth, Truths};
use crate::array::coordinates;
use crate::case::{Norm, Problem};

/// A row: the place of each element, and the number of its parameters.
type Row = Vec<(usize, usize)>;

pub fn of(problem: &Problem) -> (Truths, f64) {
    let input = &problem.inputs["x"];
    let (x, shape) = (input.to_f64(), &input.shape);
    let count = x.len();
    let (all_rows, parameters, parameter_shape) = split(problem, shape, count);
    let parameter = |name: &str, absent: f64| problem.given(name).unwrap_or_else(|| vec![absent; parameters]);
    let (gamma, beta) = (parameter("gamma", 1.0), parameter("beta", 0.0));
    let dy = problem.given("dy");
    let upstream = dy.clone().unwrap_or_else(|| vec![0.0; count]);

    let (mut y, mut dx) = (vec![d(0.0); count], vec![d(0.0); count]);
    let (mut y_scale, mut dx_scale) = (vec![0.0; count], vec![0.0; count]);
    let mut derivative = None;
    let (mut dgamma, mut dbeta) = (vec![d(0.0); parameters], vec![d(0.0); parameters]);
    let (mut products, mut sums) = (vec![0.0; parameters], vec![0.0; parameters]);
    let mut ratio = 0.0f64;
    for row in &all_rows {
        let of_row = |values: &[f64]| row.iter().map(|&(place, _)| values[place]).collect::<Vec<f64>>();
        let of_parameters = |values: &[f64]| row.iter().map(|&(_, at)| d(values[at])).collect::<Vec<D>>();
        let (x, dy, g, b, e) =
            (of_row(&x), wide(&of_row(&upstream)), of_parameters(&gamma), of_parameters(&beta), d(problem.epsilon));
        let constant = matches!(problem.norm, Norm::Rms { .. }) && x.iter().all(|&x| x == 0.0)
            || !matches!(problem.norm, Norm::Rms { .. }) && x.iter().all(|value| *value == x[0]);
        let values = wide(&x);
        let (forward, backward) = match problem.norm {
            Norm::Rms { .. } => (rows::rms_forward(&values, &g, &b, e), rows::rms_backward(&values, &g, e, &dy)),
            _ => (rows::forward(&values, &g, &b, e), rows::backward(&values, &g, e, &dy)),
        };
        let moments = compact::forward(&values, d(1.0), d(0.0), e);
        let inverse = match problem.norm {
            Norm::Rms { .. } => {
                let square = values.iter().fold(d(0.0), |sum, &x| sum + x * x) / d(x.len() as f64);
                1.0 / (square + e).sqrt().to_f64()
            }
            _ => moments.inverse_deviation.to_f64(),
        };
        let healthy = x.iter().all(|x| x.is_finite());
        if healthy && !constant {
            ratio = ratio.max(moments.mean.to_f64().abs() * inverse);
        }
        let scaled = largest(g.iter().map(|g| g.to_f64())) * inverse * largest(dy.iter().map(|dy| dy.to_f64()));
        for (i, &(place, at)) in row.iter().enumerate() {
            // A row of equal values passes no gradient back, by declaration. The derivative of the formula is as right.
            (y[place], dx[place]) = if constant { (b[i], d(0.0)) } else { (forward.y[i], backward.dx[i]) };
            if constant && problem.epsilon > 0.0 {
                derivative.get_or_insert_with(Vec::new).push((place, backward.dx[i]));
            }
            // Errors of y go by y, but at least by the terms of its sum: by beta, and in f64 by gamma xhat, of gamma's size.
            y_scale[place] = beta[at].abs().max(if problem.element.is_wide() { gamma[at].abs() } else { 0.0 });
            dx_scale[place] = if !healthy || constant && problem.epsilon == 0.0 { 0.0 } else { scaled };
            let product = if constant { d(0.0) } else { backward.dgamma[i] };
            dgamma[at] = dgamma[at] + product;
            dbeta[at] = dbeta[at] + backward.dbeta[i];
            products[at] += product.to_f64().abs();
            sums[at] += backward.dbeta[i].to_f64().abs();
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
        Truth { shape: parameter_shape.clone(), values, alternative: None, scale_shape: parameter_shape.clone(), scale }
    };
    let mut truths = Truths::from([("y".to_string(), elements(y, y_scale))]);
    if dy.is_some() {
        let mut gradient = elements(dx, dx_scale);
        if let Some(places) = derivative {
            let mut other = gradient.values.clone();
            places.into_iter().for_each(|(place, value)| other[place] = value);
            gradient.alternative = Some(other);
        }
        truths.insert("dx".to_string(), gradient);
        truths.insert("dgamma".to_string(), sums_of_parameters(dgamma, products));
        truths.insert("dbeta".to_string(), sums_of_parameters(dbeta, sums));
    }
    (truths, ratio)
}

/// The rows, and the shape of the parameters.
fn split(problem: &Problem, shape: &[usize], count: usize) -> (Vec<Row>, usize, Vec<usize>) {
    match problem.norm {
        Norm::Layer { axes } | Norm::Rms { axes } => {
            let parameter_shape = shape[shape.len() - axes..].to_vec();
            let parameters: usize = parameter_shape.iter().product();
            let row = |first: usize| (0..parameters).map(|at| (first + at, at)).collect();
            ((0..count).step_by(parameters).map(row).collect(), parameters, parameter_shape)
        }
        _ => {
            let channels = shape[problem.channel_axis()];
            let groups = if let Norm::Group { groups } = problem.norm { groups } else { channels };
            let coordinates = coordinates(shape, &problem.roles);
            let samples = coordinates.iter().map(|at| at.sample + 1).max().unwrap_or(0);
            let mut rows = vec![Row::new(); samples * groups];
            for (place, at) in coordinates.iter().enumerate() {
                rows[at.sample * groups + at.channel / (channels / groups)].push((place, at.channel));
            }
            (rows, channels, vec![channels])
        }
    }
}
