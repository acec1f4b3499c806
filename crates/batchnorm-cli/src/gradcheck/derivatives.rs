//! Derivatives without a formula for them: through the twin by complex steps and dual numbers, and of the kernel by
//! differences.

use super::scales::Scales;
use super::setup::{Direction, Setup};
use crate::failure::Failure;
use batchnorm::reference::Real;
use batchnorm_gradcheck::{COMPLEX_STEP, Complex, DIFFERENCE_STEP, Dual, central_difference, complex_step};
use batchnorm_reference::whole::Gradients;

/// The values that are differentiated one by one. Gradients of them alone have their lengths and order.
pub struct Drawn {
    pub x: Vec<usize>,
    pub parameters: Vec<usize>,
}

impl Setup {
    /// The gradients of sum dy y at the drawn values, by complex steps through the twin.
    pub fn by_complex_steps(&self, drawn: &Drawn) -> Gradients<f64> {
        let fixed = |values: &[f64]| values.iter().map(|&value| Complex::constant(value)).collect::<Vec<Complex>>();
        let (x, gamma, beta) = (fixed(&self.x), fixed(&self.gamma), fixed(&self.beta));
        let loss = |y: Vec<Complex>| {
            let terms = y.into_iter().zip(&self.dy).map(|(y, &dy)| Complex { re: 0.0, im: y.im * dy });
            terms.fold(Complex::default(), |sum, term| sum + term)
        };
        let by_x = |&i: &usize| complex_step(&self.x, i, |x| loss(self.forward(x, &gamma, &beta)));
        let by_gamma = |&i: &usize| complex_step(&self.gamma, i, |gamma| loss(self.forward(&x, gamma, &beta)));
        let by_beta = |&i: &usize| complex_step(&self.beta, i, |beta| loss(self.forward(&x, &gamma, beta)));
        Gradients {
            dx: drawn.x.iter().map(by_x).collect(),
            dgamma: drawn.parameters.iter().map(by_gamma).collect(),
            dbeta: drawn.parameters.iter().map(by_beta).collect(),
        }
    }

    /// The gradients of sum dy y at the drawn values, by central differences of the kernel's output; NaN where it refuses.
    pub fn by_differences(&self, drawn: &Drawn, scales: &Scales) -> Gradients<f64> {
        let weigh = |one: &Result<Vec<f64>, Failure>, other: &Result<Vec<f64>, Failure>| match (one, other) {
            (Ok(one), Ok(other)) => {
                one.iter().zip(other).zip(&self.dy).map(|((one, other), dy)| dy * (one - other)).sum()
            }
            _ => f64::NAN,
        };
        let (mut x, mut gamma, mut beta) = (self.x.clone(), self.gamma.clone(), self.beta.clone());
        let mut dx = Vec::new();
        for &i in &drawn.x {
            let f = |x: &[f64]| self.kernel_forward(x, &self.gamma, &self.beta);
            dx.push(central_difference(&mut x, i, scales.length[i], f, weigh));
        }
        let (mut dgamma, mut dbeta) = (Vec::new(), Vec::new());
        for &i in &drawn.parameters {
            // y is linear in both: a long step rounds least. It must not cross an activation's kink.
            let size = self.gamma[i].abs().max(self.beta[i].abs()).max(1.0);
            let length = if self.layer.negative_slope().is_some() { 2.0 } else { 1e3 * size };
            let f = |gamma: &[f64]| self.kernel_forward(&self.x, gamma, &self.beta);
            dgamma.push(central_difference(&mut gamma, i, length, f, weigh));
            let f = |beta: &[f64]| self.kernel_forward(&self.x, &self.gamma, beta);
            dbeta.push(central_difference(&mut beta, i, length, f, weigh));
        }
        Gradients { dx, dgamma, dbeta }
    }

    /// y' along a direction, by dual numbers through the twin.
    pub fn by_dual_numbers(&self, direction: &Direction) -> Vec<f64> {
        let dual =
            |values: &[f64], t: &[f64]| values.iter().zip(t).map(|(&value, &t)| Dual(value, t)).collect::<Vec<_>>();
        let (x, gamma) = (dual(&self.x, &direction.x), dual(&self.gamma, &direction.gamma));
        let y = self.forward(&x, &gamma, &dual(&self.beta, &direction.beta));
        y.into_iter().map(|y| y.1).collect()
    }

    /// The derivative of the gradient along a direction, by a complex step through the closed form.
    pub fn through_the_gradient(&self, direction: &Direction) -> Gradients<f64> {
        let step = |values: &[f64], t: &[f64]| -> Vec<Complex> {
            values.iter().zip(t).map(|(&re, t)| Complex { re, im: t * COMPLEX_STEP }).collect()
        };
        let gradients = self.compact(&step(&self.x, &direction.x), &step(&self.gamma, &direction.gamma));
        let slope = |values: Vec<Complex>| values.into_iter().map(|value| value.im / COMPLEX_STEP).collect();
        Gradients { dx: slope(gradients.dx), dgamma: slope(gradients.dgamma), dbeta: slope(gradients.dbeta) }
    }

    /// The derivative of the gradient along a direction, by differences of fourth order of the kernel's gradient. `spoil`
    /// changes that gradient at one point of four, for at all of them its change would cancel.
    pub fn by_differences_of_gradients(
        &self,
        direction: &Direction,
        spoil: &dyn Fn(&mut Gradients<f64>),
    ) -> Result<Gradients<f64>, Failure> {
        let at = |steps: f64| {
            let moved = |values: &[f64], t: &[f64]| -> Vec<f64> {
                values.iter().zip(t).map(|(value, t)| value + steps * DIFFERENCE_STEP * t).collect()
            };
            self.kernel(&moved(&self.x, &direction.x), &moved(&self.gamma, &direction.gamma))
        };
        let mut gradients = [at(1.0)?, at(-1.0)?, at(2.0)?, at(-2.0)?];
        spoil(&mut gradients[2]);
        let slope = |part: &dyn Fn(&Gradients<f64>) -> &[f64]| -> Vec<f64> {
            let [ahead, behind, far_ahead, far_behind] = gradients.each_ref().map(part);
            let difference = |i: usize| 8.0 * (ahead[i] - behind[i]) - (far_ahead[i] - far_behind[i]);
            (0..ahead.len()).map(|i| difference(i) / (12.0 * DIFFERENCE_STEP)).collect()
        };
        Ok(Gradients {
            dx: slope(&|gradients| &gradients.dx),
            dgamma: slope(&|gradients| &gradients.dgamma),
            dbeta: slope(&|gradients| &gradients.dbeta),
        })
    }
}
