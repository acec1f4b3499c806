//! `gradcheck` without `--against`: the gradients of our layers against derivatives that know no formula.
//!
//! For each layer
//!
//! - the closed form, the computation graph and the kernel, each gradient against complex steps through the forward twin:
//!   value by value, of a drawn sample where there are many; and the graph and the kernel against the closed form, all values;
//! - the kernel's gradients against central differences of the kernel's own output;
//! - the kernel's gradients times a direction, and its forward derivative (JVP), against dual numbers;
//! - second derivatives: the closed form of the Hessian times a direction, and the kernel's, against a complex step through
//!   the gradient, and that against differences of the kernel's gradient.

use super::layer::Layer;
use super::limits::differentiated;
use super::options::Arguments;
use super::report::{self, Line};
use super::scales::Scales;
use super::setup::Setup;
use super::twin::Gradients;
use super::{inputs, prepare};
use crate::failure::Failure;
use crate::terminal::put;
use batchnorm::gradcheck::{COMPLEX_STEP, Complex, DIFFERENCE_STEP, Dual, central_difference, complex_step};
use batchnorm::reference::Real;

/// What is allowed without a difference: 1e-12 (numerics.md, section 0), times what the input itself takes off.
const EXACT: f64 = 1e-12;
/// What is allowed where differences are taken: rounding and truncation of a fourth-order one are about 1e-12 each, times
/// the outputs that change and the steps' own constants.
const DIFFERENCES: f64 = 1e-8;

/// Who made a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Compact,
    Staged,
    Kernel,
    Jvp,
    SecondOrder,
    Hvp,
}

/// Spoils a gradient; for tests, which show that every check can fail.
pub type Alter<'a> = &'a dyn Fn(Source, &mut Gradients<f64>);

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let inputs = inputs::read(arguments)?;
    let mut lines = Vec::new();
    let (layers, mut left_out) = arguments.layers();
    for layer in layers {
        let checked = prepare::setup(arguments, &inputs, layer).and_then(|setup| check(&setup, &|_, _| {}));
        match checked {
            Ok(more) => lines.extend(more),
            // Of all layers those are left out that the shape does not allow, and it is said.
            Err(Failure::Refused(why)) if arguments.layer.is_none() && layer != Layer::Batch => {
                left_out.push((layer, why))
            }
            Err(failure) => return Err(failure),
        }
    }
    let text = if arguments.json {
        report::as_json(arguments, &inputs.shape, &lines, &left_out)
    } else {
        report::as_table(arguments, &lines, &left_out)
    };
    put(&text)?;
    match lines.iter().filter(|line| line.fails()).count() {
        0 => Ok(()),
        wrong => Err(Failure::Wrong(format!("{wrong} of {} checks fail", lines.len()))),
    }
}

/// The checks of one layer.
pub fn check(setup: &Setup, alter: Alter) -> Result<Vec<Line>, Failure> {
    let scales = Scales::new(setup);
    let altered = |source: Source, mut gradients: Gradients<f64>| {
        alter(source, &mut gradients);
        gradients
    };
    let compact = altered(Source::Compact, setup.compact(&setup.x, &setup.gamma));
    let staged = setup.staged().map(|gradients| altered(Source::Staged, gradients));
    let kernel = altered(Source::Kernel, setup.kernel(&setup.x, &setup.gamma)?);
    let mut random = setup.random.clone();
    let most = differentiated(setup.x.len());
    let drawn = Drawn { x: random.indices(setup.x.len(), most), parameters: random.indices(setup.gamma.len(), most) };
    let mut lines = Vec::new();
    let mut line = |gradient: &'static str, what: &'static str, by: &'static str, base: f64, worst: Worst| {
        let index = worst
            .at
            .map(|at| if gradient.starts_with("dx") || gradient == "y'" { setup.grid().index(at) } else { vec![at] });
        lines.push(Line {
            layer: setup.layer,
            gradient,
            what,
            by,
            error: worst.error,
            limit: base * worst.loss,
            index,
            checked: worst.checked,
        });
    };

    let by_complex = setup.by_complex_steps(&drawn);
    let sources = [("closed form", Some(&compact)), ("graph", staged.as_ref()), ("kernel", Some(&kernel))];
    for (what, gradients) in sources.into_iter().filter_map(|(what, gradients)| Some((what, gradients?))) {
        for (name, worst) in drawn.compared(gradients, &by_complex, &scales) {
            line(name, what, "complex step", EXACT, worst);
        }
        if what != "closed form" {
            for (name, worst) in whole(gradients, &compact, &scales) {
                line(name, what, "closed form", EXACT, worst);
            }
        }
    }
    let by_differences = setup.by_differences(&drawn, &scales)?;
    for (name, worst) in drawn.compared(&kernel, &by_differences, &scales) {
        line(name, "kernel", "differences", DIFFERENCES, worst);
    }

    // Along a direction, of the size of what it moves.
    let x_t: Vec<f64> =
        random.normals(setup.x.len()).iter().zip(&scales.length).map(|(t, length)| t * length).collect();
    let (gamma_t, beta_t) = (random.normals(setup.gamma.len()), random.normals(setup.gamma.len()));
    let direction: [&[f64]; 3] = [&x_t, &gamma_t, &beta_t];
    let (moved, size) = (setup.by_dual_numbers(direction), setup.size_of_moved(&scales, direction));
    line("all", "kernel", "dual numbers", EXACT, setup.times_direction(&kernel, direction, &moved, &scales, size));
    let through = setup.through_the_gradient([&x_t, &gamma_t]);
    let second = |gradients: &Gradients<f64>| setup.second_scales(&scales, [&x_t, &gamma_t], gradients, &through);
    if let Some(gradients) = setup.second_order([&x_t, &gamma_t]) {
        for (name, worst) in second(&altered(Source::SecondOrder, gradients)) {
            line(name, "closed form", "complex step", 10.0 * EXACT, worst);
        }
    }
    if let Some((jvp, hvp)) = setup.kernel_along(direction)? {
        let none = || vec![0.0; setup.gamma.len()];
        let jvp = altered(Source::Jvp, Gradients { dx: jvp, dgamma: none(), dbeta: none() }).dx;
        line("y'", "kernel", "dual numbers", EXACT, setup.moved(&jvp, &moved, &scales, size));
        for (name, worst) in second(&altered(Source::Hvp, hvp)) {
            line(name, "kernel", "complex step", 10.0 * EXACT, worst);
        }
    }
    let of_kernel = setup.differences_of_the_kernel([&x_t, &gamma_t], alter)?;
    for (name, worst) in second(&of_kernel) {
        line(name, "kernel, differences", "complex step", 10.0 * DIFFERENCES, worst);
    }
    Ok(lines)
}

/// The error that is largest beside what its input takes off, and where.
#[derive(Debug, Clone, Copy)]
struct Worst {
    error: f64,
    /// What its input takes off there.
    loss: f64,
    at: Option<usize>,
    checked: usize,
}

impl Worst {
    /// Of places, errors, their scales and losses; NaN is worst.
    fn of(all: impl Iterator<Item = (usize, f64, f64, f64)>) -> Worst {
        let mut worst = Worst { error: 0.0, loss: 1.0, at: None, checked: 0 };
        for (at, error, scale, loss) in all {
            worst.checked += 1;
            let part = if error == 0.0 { 0.0 } else { error / scale };
            if worst.at.is_none() || part / loss > worst.error / worst.loss || part.is_nan() {
                worst = Worst { error: part, loss, at: Some(at), ..worst };
            }
            if part.is_nan() {
                break;
            }
        }
        worst
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

const NAMES: [&str; 3] = ["dx", "dgamma", "dbeta"];

fn whole<'a>(one: &'a Gradients<f64>, other: &'a Gradients<f64>, scales: &'a Scales) -> [(&'static str, Worst); 3] {
    let worst = |one: &[f64], other: &[f64], scales: &[f64], losses: &[f64]| {
        Worst::of((0..one.len()).map(|at| (at, (one[at] - other[at]).abs(), scales[at], losses[at])))
    };
    let (losses, of_parameters) = (&scales.loss, &scales.loss_of_parameters);
    [
        (NAMES[0], worst(&one.dx, &other.dx, &scales.dx, losses)),
        (NAMES[1], worst(&one.dgamma, &other.dgamma, &scales.dgamma, of_parameters)),
        (NAMES[2], worst(&one.dbeta, &other.dbeta, &scales.dbeta, of_parameters)),
    ]
}

/// Which values are differentiated one by one.
struct Drawn {
    x: Vec<usize>,
    parameters: Vec<usize>,
}

impl Drawn {
    /// Gradients against derivatives of the drawn values.
    fn compared(&self, gradients: &Gradients<f64>, by: &[Vec<f64>; 3], scales: &Scales) -> [(&'static str, Worst); 3] {
        let worst = |places: &[usize], got: &[f64], by: &[f64], scales: &[f64], losses: &[f64]| {
            Worst::of(places.iter().zip(by).map(|(&at, by)| (at, (got[at] - by).abs(), scales[at], losses[at])))
        };
        let (losses, of_parameters) = (&scales.loss, &scales.loss_of_parameters);
        [
            (NAMES[0], worst(&self.x, &gradients.dx, &by[0], &scales.dx, losses)),
            (NAMES[1], worst(&self.parameters, &gradients.dgamma, &by[1], &scales.dgamma, of_parameters)),
            (NAMES[2], worst(&self.parameters, &gradients.dbeta, &by[2], &scales.dbeta, of_parameters)),
        ]
    }
}

impl Setup {
    /// sum dy y by complex steps through the twin.
    fn by_complex_steps(&self, drawn: &Drawn) -> [Vec<f64>; 3] {
        let fixed = |values: &[f64]| values.iter().map(|&value| Complex::constant(value)).collect::<Vec<Complex>>();
        let (x, gamma, beta) = (fixed(&self.x), fixed(&self.gamma), fixed(&self.beta));
        let loss = |y: Vec<Complex>| {
            let terms = y.into_iter().zip(&self.dy).map(|(y, &dy)| Complex { re: 0.0, im: y.im * dy });
            terms.fold(Complex::default(), |sum, term| sum + term)
        };
        let by_x = |&i: &usize| complex_step(&self.x, i, |x| loss(self.forward(x, &gamma, &beta)));
        let by_gamma = |&i: &usize| complex_step(&self.gamma, i, |gamma| loss(self.forward(&x, gamma, &beta)));
        let by_beta = |&i: &usize| complex_step(&self.beta, i, |beta| loss(self.forward(&x, &gamma, beta)));
        [
            drawn.x.iter().map(by_x).collect(),
            drawn.parameters.iter().map(by_gamma).collect(),
            drawn.parameters.iter().map(by_beta).collect(),
        ]
    }

    /// The same by central differences of the kernel's output.
    fn by_differences(&self, drawn: &Drawn, scales: &Scales) -> Result<[Vec<f64>; 3], Failure> {
        let weigh = |one: &Result<Vec<f64>, Failure>, other: &Result<Vec<f64>, Failure>| match (one, other) {
            (Ok(one), Ok(other)) => {
                one.iter().zip(other).zip(&self.dy).map(|((one, other), dy)| dy * (one - other)).sum()
            }
            _ => f64::NAN,
        };
        // Refused once, refused always: the base point has been run before.
        let (mut x, mut gamma, mut beta) = (self.x.clone(), self.gamma.clone(), self.beta.clone());
        let mut by_x = Vec::new();
        for &i in &drawn.x {
            let f = |x: &[f64]| self.kernel_forward(x, &self.gamma, &self.beta);
            by_x.push(central_difference(&mut x, i, scales.length[i], f, weigh));
        }
        let (mut by_gamma, mut by_beta) = (Vec::new(), Vec::new());
        for &i in &drawn.parameters {
            // y is linear in both: a long step rounds least. It must not cross an activation's kink.
            let size = self.gamma[i].abs().max(self.beta[i].abs()).max(1.0);
            let length = if self.layer.negative_slope().is_some() { 2.0 } else { 1e3 * size };
            let f = |gamma: &[f64]| self.kernel_forward(&self.x, gamma, &self.beta);
            by_gamma.push(central_difference(&mut gamma, i, length, f, weigh));
            let f = |beta: &[f64]| self.kernel_forward(&self.x, &self.gamma, beta);
            by_beta.push(central_difference(&mut beta, i, length, f, weigh));
        }
        Ok([by_x, by_gamma, by_beta])
    }

    /// y' along a direction, by dual numbers through the twin.
    fn by_dual_numbers(&self, [x_t, gamma_t, beta_t]: [&[f64]; 3]) -> Vec<f64> {
        let dual =
            |values: &[f64], t: &[f64]| values.iter().zip(t).map(|(&value, &t)| Dual(value, t)).collect::<Vec<_>>();
        let y = self.forward(&dual(&self.x, x_t), &dual(&self.gamma, gamma_t), &dual(&self.beta, beta_t));
        y.into_iter().map(|y| y.1).collect()
    }

    /// <dy, y'> against <dx, x'> + <dgamma, gamma'> + <dbeta, beta'>.
    fn times_direction(
        &self,
        gradients: &Gradients<f64>,
        [x_t, gamma_t, beta_t]: [&[f64]; 3],
        moved: &[f64],
        scales: &Scales,
        size: f64,
    ) -> Worst {
        let products = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).collect::<Vec<f64>>();
        let mut terms = products(&gradients.dx, x_t);
        terms.extend(products(&gradients.dgamma, gamma_t));
        terms.extend(products(&gradients.dbeta, beta_t));
        let forward = products(&self.dy, moved);
        let upstream: f64 = self.upstream().iter().map(|dz| dz.abs()).sum();
        let error = terms.iter().sum::<f64>() - forward.iter().sum::<f64>();
        let error = if error == 0.0 { 0.0 } else { error.abs() / (upstream * size) };
        Worst { error, loss: largest(&scales.loss), at: None, checked: 1 }
    }

    /// y' against y', but where the activation bends.
    fn moved(&self, one: &[f64], other: &[f64], scales: &Scales, size: f64) -> Worst {
        let errors = one.iter().zip(other).map(|(one, other)| (one - other).abs()).enumerate();
        let errors = errors.filter(|(at, _)| !self.kinks[*at]);
        Worst::of(errors.map(|(at, error)| (at, error, size, scales.loss[at])))
    }

    /// How large y' is along a direction before anything cancels: gamma r x' + gamma' xhat + beta'.
    fn size_of_moved(&self, scales: &Scales, [x_t, gamma_t, beta_t]: [&[f64]; 3]) -> f64 {
        let xhat = self.normalized(&self.x);
        let far = x_t.iter().zip(&scales.length).map(|(t, length)| t / length).collect::<Vec<f64>>();
        largest(&self.gamma) * largest(&far) * (1.0 + largest(&xhat))
            + largest(gamma_t) * largest(&xhat)
            + largest(beta_t)
    }

    /// The derivative of the gradient along a direction, by a complex step through the closed form.
    fn through_the_gradient(&self, [x_t, gamma_t]: [&[f64]; 2]) -> Gradients<f64> {
        let step = |values: &[f64], t: &[f64]| -> Vec<Complex> {
            values.iter().zip(t).map(|(&re, t)| Complex { re, im: t * COMPLEX_STEP }).collect()
        };
        let Gradients { dx, dgamma, dbeta } = self.compact(&step(&self.x, x_t), &step(&self.gamma, gamma_t));
        let slope = |values: Vec<Complex>| values.into_iter().map(|value| value.im / COMPLEX_STEP).collect();
        Gradients { dx: slope(dx), dgamma: slope(dgamma), dbeta: slope(dbeta) }
    }

    /// The same by differences of the kernel's gradient, of fourth order.
    fn differences_of_the_kernel(&self, [x_t, gamma_t]: [&[f64]; 2], alter: Alter) -> Result<Gradients<f64>, Failure> {
        let at = |steps: f64| -> Result<Gradients<f64>, Failure> {
            let moved = |values: &[f64], t: &[f64]| -> Vec<f64> {
                values.iter().zip(t).map(|(value, t)| value + steps * DIFFERENCE_STEP * t).collect()
            };
            let mut gradients = self.kernel(&moved(&self.x, x_t), &moved(&self.gamma, gamma_t))?;
            // Spoiled in proportion to the way, so that the slope is.
            if steps == 2.0 {
                alter(Source::Kernel, &mut gradients);
            }
            Ok(gradients)
        };
        let four = [at(1.0)?, at(-1.0)?, at(2.0)?, at(-2.0)?];
        let slope = |of: &dyn Fn(&Gradients<f64>) -> &[f64]| -> Vec<f64> {
            let [a, b, c, d] = four.each_ref().map(of);
            (0..a.len()).map(|i| (8.0 * (a[i] - b[i]) - (c[i] - d[i])) / (12.0 * DIFFERENCE_STEP)).collect()
        };
        Ok(Gradients {
            dx: slope(&|gradients| &gradients.dx),
            dgamma: slope(&|gradients| &gradients.dgamma),
            dbeta: slope(&|gradients| &gradients.dbeta),
        })
    }

    /// Second derivatives compared: as parts of the gradient's own measure times how far the direction goes, in deviations.
    fn second_scales(
        &self,
        scales: &Scales,
        [x_t, gamma_t]: [&[f64]; 2],
        one: &Gradients<f64>,
        other: &Gradients<f64>,
    ) -> [(&'static str, Worst); 2] {
        let far = x_t.iter().zip(&scales.length).fold(0.0f64, |most, (t, length)| most.max((t / length).abs()));
        // dx is gamma times dx's unit: it moves with either.
        let steps = [far * largest(&self.gamma) + largest(gamma_t), far];
        let of = |one: &[f64], other: &[f64], scales: &[f64], losses: &[f64], steps: f64| {
            Worst::of((0..one.len()).map(|at| (at, (one[at] - other[at]).abs(), scales[at] * steps, losses[at])))
        };
        [
            ("dx'", of(&one.dx, &other.dx, &scales.unit, &scales.loss, steps[0])),
            ("dgamma'", of(&one.dgamma, &other.dgamma, &scales.dbeta, &scales.loss_of_parameters, steps[1])),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, ValueEnum};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn setup(layer: Layer, more: &[&str]) -> Setup {
        let arguments = Program::parse_from([&["gradcheck"], more].concat()).arguments;
        let inputs = inputs::read(&arguments).expect("a shape");
        prepare::setup(&arguments, &inputs, layer).expect("a right setup")
    }

    fn failing(lines: &[Line]) -> Vec<(&'static str, &'static str, &'static str)> {
        lines.iter().filter(|line| !line.holds()).map(|line| (line.gradient, line.what, line.by)).collect()
    }

    #[test]
    fn every_check_holds_and_fails_where_a_gradient_is_spoiled() {
        assert_eq!(Layer::value_variants().len(), 14);
        for &layer in Layer::value_variants() {
            let setup = setup(layer, &["--shape", "4,6,5", "--seed", "9"]);
            let clean = check(&setup, &|_, _| {}).unwrap();
            assert_eq!(failing(&clean), [], "{layer:?}");
            let all = [Source::Compact, Source::Staged, Source::Kernel, Source::Jvp, Source::SecondOrder, Source::Hvp];
            let mut failed = Vec::new();
            for source in all {
                // Twice the smallest error that may not pass by any check.
                let spoil = |who: Source, gradients: &mut Gradients<f64>| {
                    if who == source {
                        let all = gradients.dx.iter_mut().chain(&mut gradients.dgamma).chain(&mut gradients.dbeta);
                        all.for_each(|value| *value += 1e-4 * (1.0 + value.abs()));
                    }
                };
                let lines = check(&setup, &spoil).unwrap();
                failed.extend(failing(&lines));
            }
            // Each check of the clean run failed at least once.
            for line in &clean {
                let key = (line.gradient, line.what, line.by);
                // (The Hessian's part of beta is 0 and not compared.)
                assert!(failed.contains(&key), "{layer:?}: {key:?} cannot fail");
            }
        }
    }

    #[test]
    fn a_small_error_in_one_place_is_found_there() {
        let setup = setup(Layer::Batch, &[]);
        let spoil = |who: Source, gradients: &mut Gradients<f64>| {
            if who == Source::Kernel {
                gradients.dx[47] += 1e-10;
            }
        };
        let lines = check(&setup, &spoil).unwrap();
        let found: Vec<&Line> = lines.iter().filter(|line| !line.holds()).collect();
        // Shape 4, 6, 5: value 47 is sample 1, channel 3, position 2.
        assert!(!found.is_empty() && found.iter().all(|line| line.index == Some(vec![1, 3, 2])), "{found:?}");
    }

    #[test]
    fn not_a_number_never_holds() {
        let setup = setup(Layer::Norm, &[]);
        let spoil = |who: Source, gradients: &mut Gradients<f64>| {
            if who == Source::Kernel {
                gradients.dgamma[3] = f64::NAN;
            }
        };
        assert!(failing(&check(&setup, &spoil).unwrap()).contains(&("dgamma", "kernel", "closed form")));
    }
}
