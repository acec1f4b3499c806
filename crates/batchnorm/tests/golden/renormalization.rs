//! Batch renormalisation against an independent implementation of the paper's formulas in NumPy, over 100 steps
//! (`make_renormalization.py`): limits that rise, both of them reached and not.

use batchnorm::{Averaged, Axes, BatchNorm, Config, Estimator, Renormalization, RunningStatistics, UpdateWeight, View};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    y: Vec<f64>,
    dx: Vec<f64>,
    test: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

const SHAPE: [usize; 3] = [4, 3, 5];
const EPSILON: f64 = 1e-3;

/// The generator of the script.
struct Congruential(u64);

impl Congruential {
    fn array(&mut self, offset: [f64; 3], scale: [f64; 3]) -> Vec<f64> {
        (0..SHAPE.iter().product())
            .map(|at: usize| {
                self.0 = (1_103_515_245 * self.0 + 12345) % (1 << 31);
                let channel = at / SHAPE[2] % SHAPE[1];
                (self.0 as f64 / 2f64.powi(31) - 0.5) * scale[channel] + offset[channel]
            })
            .collect()
    }
}

fn close(what: &str, step: usize, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-12 * scale, "step {step}, {what}: {got} {expected}");
    }
}

#[test]
fn a_hundred_steps_are_the_paper_s() {
    let text = include_str!("renormalization.json");
    let recorded: Recorded = serde_json::from_str(text).expect("the form of the file");
    assert_eq!(recorded.steps.len(), 100);
    let renormalization = Renormalization::new(3.0, 5.0).expect("limits").warm_up(10, 60, 40).expect("a warm-up");
    let mut layer: BatchNorm = Config::pytorch()
        .epsilon(EPSILON)
        .estimator(Estimator::Population)
        .averaged(Averaged::Deviation)
        .averaging(UpdateWeight::of_new(0.05).expect("a weight"))
        .renormalization(renormalization)
        .channels(3)
        .build()
        .expect("a layer");
    // The script's deviation, with eps in it, starts at 1.
    layer.set_running(RunningStatistics::from_parts(&[0.0; 3], &[1.0 - EPSILON; 3], 0).expect("right")).expect("three");
    let (mut gamma, mut beta) = ([1.0, -0.5, 2.0], [0.0, 0.25, -1.0]);
    let mut random = Congruential(12345);
    for (number, step) in recorded.steps.iter().enumerate() {
        let t = number as f64;
        let x = random.array([(t / 3.0).sin(), 2.0 + t.cos(), -1.0], [2.0, 0.3, 5.0 + 4.0 * (t / 7.0).sin()]);
        let dy = random.array([0.1, 0.0, -0.2], [1.0, 1.0, 2.0]);
        let [x, dy] = [&x, &dy].map(|data| View::new(data, &SHAPE, Axes::NCHW).expect("an array"));
        layer.set_gamma(&gamma).expect("three");
        layer.set_beta(&beta).expect("three");
        let trained = layer.train(&x).expect("a right call");
        let gradients = layer.backward(&x, &dy, &trained.saved).expect("a right call");
        let (dgamma, dbeta) = (gradients.dgamma.expect("trained"), gradients.dbeta.expect("trained"));
        if !step.y.is_empty() {
            close("y", number, trained.y.data(), &step.y);
            close("dx", number, gradients.dx.data(), &step.dx);
            close("test", number, layer.eval(&x).expect("a right call").y.data(), &step.test);
        }
        close("dgamma", number, &dgamma, &step.dgamma);
        close("dbeta", number, &dbeta, &step.dbeta);
        let running = layer.running().expect("tracked");
        let deviation: Vec<f64> = running.variance().iter().map(|variance| (variance + EPSILON).sqrt()).collect();
        close("mean", number, running.mean(), &step.mean);
        close("deviation", number, &deviation, &step.deviation);
        for c in 0..3 {
            gamma[c] -= 0.01 * dgamma[c];
            beta[c] -= 0.01 * dbeta[c];
        }
    }
}
