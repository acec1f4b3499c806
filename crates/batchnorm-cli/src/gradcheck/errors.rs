//! Errors of gradients by the measures of `scales`: of each comparison the worst, and where it is.

use super::derivatives::Drawn;
use super::scales::Scales;
use super::setup::{Direction, Setup};
use batchnorm_reference::whole::Gradients;

/// The error that is largest beside the loss of accuracy at its place.
#[derive(Debug, Clone, Copy)]
pub struct Worst {
    pub error: f64,
    /// The loss of accuracy at its place.
    pub loss: f64,
    pub place: Option<usize>,
    /// Number of values compared.
    pub checked: usize,
}

/// The error of one value, with what it is measured by.
struct Measured {
    place: usize,
    error: f64,
    scale: f64,
    loss: f64,
}

impl Worst {
    /// A NaN is worst.
    fn of(errors: impl Iterator<Item = Measured>) -> Worst {
        let mut worst = Worst { error: 0.0, loss: 1.0, place: None, checked: 0 };
        for Measured { place, error, scale, loss } in errors {
            worst.checked += 1;
            // Of no error nothing is left, even by a scale of 0.
            let error = if error == 0.0 { 0.0 } else { error / scale };
            if worst.place.is_none() || error / loss > worst.error / worst.loss || error.is_nan() {
                worst = Worst { error, loss, place: Some(place), ..worst };
            }
            if error.is_nan() {
                break;
            }
        }
        worst
    }

    /// All values of two arrays.
    fn between(one: &[f64], other: &[f64], scales: impl Fn(usize) -> f64, losses: &[f64]) -> Worst {
        let error = |place: usize| (one[place] - other[place]).abs();
        let measured = |place| Measured { place, error: error(place), scale: scales(place), loss: losses[place] };
        Worst::of((0..one.len()).map(measured))
    }

    /// Values at some places against derivatives there.
    fn at(places: &[usize], got: &[f64], derivatives: &[f64], scales: &[f64], losses: &[f64]) -> Worst {
        let measured = |(&place, derivative): (&usize, &f64)| Measured {
            place,
            error: (got[place] - derivative).abs(),
            scale: scales[place],
            loss: losses[place],
        };
        Worst::of(places.iter().zip(derivatives).map(measured))
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The worst errors between two gradients, of each array by its name.
pub fn between(one: &Gradients<f64>, other: &Gradients<f64>, scales: &Scales) -> [(&'static str, Worst); 3] {
    let worst = |one: &[f64], other: &[f64], scales: &[f64], losses: &[f64]| {
        Worst::between(one, other, |place| scales[place], losses)
    };
    [
        ("dx", worst(&one.dx, &other.dx, &scales.dx, &scales.loss)),
        ("dgamma", worst(&one.dgamma, &other.dgamma, &scales.dgamma, &scales.parameter_loss)),
        ("dbeta", worst(&one.dbeta, &other.dbeta, &scales.dbeta, &scales.parameter_loss)),
    ]
}

/// The worst errors of gradients at the drawn values, against derivatives there.
pub fn at_drawn(
    drawn: &Drawn,
    gradients: &Gradients<f64>,
    derivatives: &Gradients<f64>,
    scales: &Scales,
) -> [(&'static str, Worst); 3] {
    let (parameters, loss) = (&drawn.parameters, &scales.parameter_loss);
    [
        ("dx", Worst::at(&drawn.x, &gradients.dx, &derivatives.dx, &scales.dx, &scales.loss)),
        ("dgamma", Worst::at(parameters, &gradients.dgamma, &derivatives.dgamma, &scales.dgamma, loss)),
        ("dbeta", Worst::at(parameters, &gradients.dbeta, &derivatives.dbeta, &scales.dbeta, loss)),
    ]
}

impl Setup {
    /// The size of y' along a direction before anything cancels: gamma r x' + gamma' xhat + beta'.
    pub fn size_of_moved(&self, scales: &Scales, direction: &Direction) -> f64 {
        let largest_xhat = largest(&self.normalized(&self.x));
        largest(&self.gamma) * deviations(scales, direction) * (1.0 + largest_xhat)
            + largest(&direction.gamma) * largest_xhat
            + largest(&direction.beta)
    }

    /// The error between <dy, y'> and <dx, x'> + <dgamma, gamma'> + <dbeta, beta'>, of a y' of that size.
    pub fn times_direction(
        &self,
        gradients: &Gradients<f64>,
        direction: &Direction,
        moved: &[f64],
        scales: &Scales,
        size: f64,
    ) -> Worst {
        let products = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).collect::<Vec<f64>>();
        let mut terms = products(&gradients.dx, &direction.x);
        terms.extend(products(&gradients.dgamma, &direction.gamma));
        terms.extend(products(&gradients.dbeta, &direction.beta));
        let forward = products(&self.dy, moved);
        let upstream: f64 = self.upstream().iter().map(|dz| dz.abs()).sum();
        let error = terms.iter().sum::<f64>() - forward.iter().sum::<f64>();
        let error = if error == 0.0 { 0.0 } else { error.abs() / (upstream * size) };
        Worst { error, loss: largest(&scales.loss), place: None, checked: 1 }
    }

    /// The worst error between two y' of that size, but at kinks.
    pub fn between_moved(&self, one: &[f64], other: &[f64], scales: &Scales, size: f64) -> Worst {
        let error = |place: usize| (one[place] - other[place]).abs();
        let smooth = (0..one.len()).filter(|&place| !self.kinks[place]);
        Worst::of(smooth.map(|place| Measured { place, error: error(place), scale: size, loss: scales.loss[place] }))
    }

    /// The worst errors between two derivatives of the gradient along a direction. Their scale is the gradient's own, times
    /// the length of the direction in deviations.
    pub fn between_second(
        &self,
        scales: &Scales,
        direction: &Direction,
        one: &Gradients<f64>,
        other: &Gradients<f64>,
    ) -> [(&'static str, Worst); 2] {
        let far = deviations(scales, direction);
        // dx is gamma times a dx of gamma 1: it moves with either.
        let steps = far * largest(&self.gamma) + largest(&direction.gamma);
        let dx_scale = |place: usize| scales.unit_dx[place] * steps;
        let dgamma_scale = |parameter: usize| scales.dbeta[parameter] * far;
        [
            ("dx'", Worst::between(&one.dx, &other.dx, dx_scale, &scales.loss)),
            ("dgamma'", Worst::between(&one.dgamma, &other.dgamma, dgamma_scale, &scales.parameter_loss)),
        ]
    }
}

/// The largest part of a direction in x, in deviations.
fn deviations(scales: &Scales, direction: &Direction) -> f64 {
    direction.x.iter().zip(&scales.length).fold(0.0f64, |most, (t, length)| most.max((t / length).abs()))
}
