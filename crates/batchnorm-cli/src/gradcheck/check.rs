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

use super::derivatives::Drawn;
use super::errors::{Worst, at_drawn, between};
use super::layer::Layer;
use super::limits::differentiated;
use super::options::Arguments;
use super::report::{self, Line};
use super::scales::Scales;
use super::setup::{Direction, Setup};
use super::{inputs, prepare};
use crate::failure::Failure;
use crate::terminal::put;
use batchnorm_reference::whole::Gradients;

/// The limit without a difference: 1e-12 (numerics.md, section 0), times what the input itself takes off.
const EXACT: f64 = 1e-12;
/// The limit where differences are taken: rounding and truncation of a fourth-order one are about 1e-12 each, times the
/// outputs that change and the steps' own constants.
const DIFFERENCES: f64 = 1e-8;

/// The maker of a gradient.
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
    let of_several = layers.len() > 1;
    for layer in layers {
        let checked = prepare::setup(arguments, &inputs, layer).and_then(|setup| check(&setup, &|_, _| {}));
        match checked {
            Ok(more) => lines.extend(more),
            // Without --layer, layers that the shape does not allow are left out, and the output says so.
            Err(Failure::Refused(why)) if of_several && layer != Layer::Batch => left_out.push((layer, why)),
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
    let mut random = setup.random.clone();
    let most = differentiated(setup.x.len());
    let drawn = Drawn { x: random.some(setup.x.len(), most), parameters: random.some(setup.gamma.len(), most) };
    // In x as many deviations as normal numbers have, so that y moves whatever the size of x.
    let direction = Direction {
        x: scales.length.iter().map(|length| length * random.normal()).collect(),
        gamma: random.normals(setup.gamma.len(), 0.0, 1.0),
        beta: random.normals(setup.gamma.len(), 0.0, 1.0),
    };
    let mut checks = Checks { setup, scales: &scales, alter, lines: Vec::new() };
    let kernel = checks.altered(Source::Kernel, setup.kernel(&setup.x, &setup.gamma)?);
    checks.gradients(&kernel, &drawn);
    checks.along(&direction, &kernel)?;
    Ok(checks.lines)
}

/// The checks done so far, and what they are done on.
struct Checks<'a> {
    setup: &'a Setup,
    scales: &'a Scales,
    alter: Alter<'a>,
    lines: Vec<Line>,
}

impl Checks<'_> {
    /// Gradients as they are, or spoiled by a test.
    fn altered(&self, source: Source, mut gradients: Gradients<f64>) -> Gradients<f64> {
        (self.alter)(source, &mut gradients);
        gradients
    }

    /// Adds a line for each of the errors; their limit is `limit` times the loss of accuracy.
    fn add(
        &mut self,
        source: &'static str,
        by: &'static str,
        limit: f64,
        errors: impl IntoIterator<Item = (&'static str, Worst)>,
    ) {
        for (gradient, Worst { error, loss, place, checked }) in errors {
            let of_x = gradient.starts_with("dx") || gradient == "y'";
            let index = place.map(|place| if of_x { self.setup.rows.index(place) } else { vec![place] });
            let (layer, limit) = (self.setup.layer, limit * loss);
            self.lines.push(Line { layer, gradient, source, by, error, limit, index, checked });
        }
    }

    /// Closed form, graph and kernel, against complex steps, each other and differences.
    fn gradients(&mut self, kernel: &Gradients<f64>, drawn: &Drawn) {
        let (setup, scales) = (self.setup, self.scales);
        let compact = self.altered(Source::Compact, setup.compact(&setup.x, &setup.gamma));
        let staged = setup.staged().map(|gradients| self.altered(Source::Staged, gradients));
        let derivatives = setup.by_complex_steps(drawn);
        self.add("closed form", "complex step", EXACT, at_drawn(drawn, &compact, &derivatives, scales));
        for (source, gradients) in [("graph", staged.as_ref()), ("kernel", Some(kernel))] {
            let Some(gradients) = gradients else { continue };
            self.add(source, "complex step", EXACT, at_drawn(drawn, gradients, &derivatives, scales));
            self.add(source, "closed form", EXACT, between(gradients, &compact, scales));
        }
        let differences = setup.by_differences(drawn, scales);
        self.add("kernel", "differences", DIFFERENCES, at_drawn(drawn, kernel, &differences, scales));
    }

    /// Directional and second derivatives along a direction.
    fn along(&mut self, direction: &Direction, kernel: &Gradients<f64>) -> Result<(), Failure> {
        let (setup, scales) = (self.setup, self.scales);
        let (moved, size) = (setup.by_dual_numbers(direction), setup.size_of_moved(scales, direction));
        let products = setup.times_direction(kernel, direction, &moved, scales, size);
        self.add("kernel", "dual numbers", EXACT, [("all", products)]);
        let through = setup.through_the_gradient(direction);
        let second = |gradients: &Gradients<f64>| setup.between_second(scales, direction, gradients, &through);
        if let Some(gradients) = setup.second_order(direction) {
            let gradients = self.altered(Source::SecondOrder, gradients);
            self.add("closed form", "complex step", 10.0 * EXACT, second(&gradients));
        }
        if let Some((jvp, hvp)) = setup.kernel_along(direction)? {
            // What tests spoil is a gradient: y' stands in the place of dx.
            let jvp = Gradients { dx: jvp, dgamma: Vec::new(), dbeta: Vec::new() };
            let jvp = self.altered(Source::Jvp, jvp).dx;
            self.add("kernel", "dual numbers", EXACT, [("y'", setup.between_moved(&jvp, &moved, scales, size))]);
            let hvp = self.altered(Source::Hvp, hvp);
            self.add("kernel", "complex step", 10.0 * EXACT, second(&hvp));
        }
        let alter = self.alter;
        let spoil = |gradients: &mut Gradients<f64>| alter(Source::Kernel, gradients);
        let differences = setup.by_differences_of_gradients(direction, &spoil)?;
        self.add("kernel, differences", "complex step", 10.0 * DIFFERENCES, second(&differences));
        Ok(())
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
        lines.iter().filter(|line| !line.holds()).map(|line| (line.gradient, line.source, line.by)).collect()
    }

    #[test]
    fn every_check_holds_and_fails_where_a_gradient_is_spoiled() {
        assert_eq!(Layer::value_variants().len(), 16);
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
                let key = (line.gradient, line.source, line.by);
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
