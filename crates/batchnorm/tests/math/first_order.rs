//! (18) to (38): the gradient, in both forms, and what follows from it.

use super::{
    Case, Check, Defined, Equation, column, column_mut, gradient_of, largest, mean, mean_of, moving, same, sum_of, wide,
};
use crate::support::Random;
use crate::support::wide::DoubleDouble;
use batchnorm::reference::number::Dual;
use batchnorm::reference::{Real, compact, mixed, staged};
use batchnorm::{NormalizeBy, Parameters, RunningStatistics, Switches, UpdateWeight};

pub const EQUATIONS: &[Equation] = &[
    ("(18) dbeta = sum_i dy_i, dgamma = sum_i dy_i xhat_i", |case, check| {
        let by = |gamma_t: f64, beta_t: f64| {
            let [gamma, beta] = [(case.gamma, gamma_t), (case.beta, beta_t)].map(|(v, t)| Dual(wide(v), wide(t)));
            let y = Defined::new(&moving(&case.x, |_| 0.0), gamma, beta, case.epsilon).y;
            y.iter().zip(&case.dy).fold(wide(0.0), |sum, (y, &dy)| sum + y.1 * wide(dy))
        };
        let (dbeta, dgamma) = (case.dy.iter().sum::<f64>(), sum_of(&case.dy, &case.xhat));
        check.equal(dbeta, by(0.0, 1.0), largest(&case.dy) * case.count());
        check.equal(dgamma, by(1.0, 0.0), products(case) * case.condition());
        let kernel = backward(case).1;
        check.all_equal(&[dbeta, dgamma], [kernel[1], kernel[0]], (products(case) + dbeta.abs()) * case.condition());
    }),
    ("(19) dx_l = gamma r (dy_l - mean(dy) - xhat_l mean(dy xhat))", |case, check| {
        against_the_gradient(case, &dx(case), check);
        check.all_equal(&dx(case), backward(case).0, case.dx_scale());
        check.all_equal(&dx(case), compact::backward(&case.x, case.gamma, case.epsilon, &case.dy).dx, case.dx_scale());
    }),
    ("(20) sum_l dx_l = 0, sum_l dx_l xhat_l = eps / (v + eps) gamma r dgamma", |case, check| {
        let dx = dx(case);
        check.vanishes(&dx, case.dx_scale());
        // The sum cancels to this share of its terms, so it is taken in double-double.
        let x: Vec<DoubleDouble> = case.x.iter().map(|&x| wide(x)).collect();
        let xhat = Defined::new(&x, wide(case.gamma), wide(case.beta), case.epsilon).xhat;
        let sum = by_definition(case).iter().zip(xhat).fold(wide(0.0), |sum, (&dx, xhat)| sum + dx * xhat);
        let factor = case.share() * case.gamma * case.r;
        check.equal(factor * sum_of(&case.dy, &case.xhat), sum, factor.abs() * products(case) * case.condition());
    }),
    ("(21) d scaled = dy, dbeta = sum_i dy_i", |case, check| {
        let twin = staged_backward(case);
        check.all_equal(&case.dy, by_node(case, SCALED), largest(&case.dy));
        check.all_equal(&case.dy, twin.scaled, largest(&case.dy));
        check.equal(case.dy.iter().sum(), twin.gradients.dbeta, largest(&case.dy) * case.count());
    }),
    ("(22) d normalized = gamma d scaled, dgamma = sum_i d scaled_i normalized_i", |case, check| {
        let stated = case.list(|i| case.gamma * case.dy[i]);
        let twin = staged_backward(case);
        check.all_equal(&stated, by_node(case, NORMALIZED), largest(&stated));
        check.all_equal(&stated, twin.normalized, largest(&stated));
        check.equal(sum_of(&case.dy, &case.xhat), twin.gradients.dgamma, products(case) * case.condition());
    }),
    ("(23) d inverse = sum_i d normalized_i centered_i", |case, check| {
        let stated = case.gamma * sum_of(&case.dy, &case.c);
        scalar(case, check, stated, INVERSE, staged_backward(case).inverse, terms(case));
    }),
    ("(24) d deviation = -d inverse / deviation^2", |case, check| {
        let twin = staged_backward(case);
        let stated = -twin.inverse * case.r.powi(2);
        scalar(case, check, stated, DEVIATION, twin.deviation, terms(case) * case.r.powi(2));
    }),
    ("(25) d variance = d deviation / (2 deviation)", |case, check| {
        let twin = staged_backward(case);
        let stated = twin.deviation * case.r / 2.0;
        scalar(case, check, stated, VARIANCE, twin.variance, terms(case) * case.r.powi(3) / 2.0);
    }),
    ("(26) d squared = d variance / n", |case, check| {
        let twin = staged_backward(case);
        let stated = vec![twin.variance / case.count(); case.n];
        let scale = terms(case) * case.r.powi(3) / 2.0 / case.count() * case.condition();
        check.all_equal(&stated, by_node(case, SQUARED), scale);
        check.all_equal(&stated, twin.squared, scale);
    }),
    ("(27) d centered = inverse d normalized + 2 centered d squared", |case, check| {
        let twin = staged_backward(case);
        let stated = case.list(|i| case.r * twin.normalized[i] + 2.0 * case.c[i] * twin.squared[i]);
        check.all_equal(&stated, by_node(case, CENTERED), case.dx_scale());
        check.all_equal(&stated, twin.centered, case.dx_scale());
    }),
    ("(28) d mean = -sum_i d centered_i", |case, check| {
        let twin = staged_backward(case);
        let stated = -twin.centered.iter().sum::<f64>();
        scalar(case, check, stated, MEAN, twin.mean, case.dx_scale() * case.count());
    }),
    ("(29) dx = d centered + d mean / n", |case, check| {
        let twin = staged_backward(case);
        let stated = case.list(|i| twin.centered[i] + twin.mean / case.count());
        against_the_gradient(case, &stated, check);
    }),
    ("(30) d variance = -1/2 gamma r^3 sum_i dy_i c_i = -n/2 gamma r^2 mean(dy xhat)", |case, check| {
        let sum = -0.5 * case.gamma * case.r.powi(3) * sum_of(&case.dy, &case.c);
        let short = -case.count() / 2.0 * case.gamma * case.r.powi(2) * mean_of(&case.dy, &case.xhat);
        let scale = terms(case) * case.r.powi(3) / 2.0;
        for stated in [sum, short] {
            scalar(case, check, stated, VARIANCE, staged_backward(case).variance, scale);
        }
    }),
    ("(31) d centered_l = gamma r (dy_l - xhat_l mean(dy xhat))", |case, check| {
        let q = mean_of(&case.dy, &case.xhat);
        let stated = case.list(|l| case.gamma * case.r * (case.dy[l] - case.xhat[l] * q));
        check.all_equal(&stated, by_node(case, CENTERED), case.dx_scale());
    }),
    ("(32) d mean = -gamma r sum_i dy_i = -n gamma r mean(dy)", |case, check| {
        let sum = -case.gamma * case.r * case.dy.iter().sum::<f64>();
        let short = -case.count() * case.gamma * case.r * mean(&case.dy);
        for stated in [sum, short] {
            scalar(case, check, stated, MEAN, staged_backward(case).mean, case.dx_scale() * case.count());
        }
    }),
    ("(33) dx_l = gamma r dy_l", |case, check| by_share(case, 0.0, check)),
    ("(34) dx_l = gamma r (dy_l - w mean(dy) - w (x_l - mu) r mean(dy xhat))", |case, check| {
        [0.0, 0.1, 0.7, 1.0].into_iter().for_each(|share| by_share(case, share, check));
    }),
    ("(35) dx_1 = -dx_2 = gamma r eps / (v + eps) (dy_1 - dy_2) / 2", |case, check| {
        let two = Case::of(
            [&case.x, &case.dy, &case.direction].map(|list| list[..2].to_vec()),
            [case.gamma, case.beta, case.gamma_t, case.beta_t],
            case.epsilon,
            case.seed,
        );
        let dx = two.gamma * two.r * two.share() * (two.dy[0] - two.dy[1]) / 2.0;
        // Relative to itself: to what is left where the terms cancel.
        check.all_equal(&[dx, -dx], by_definition(&two), dx.abs() * two.condition());
        let d = (two.x[0] - two.x[1]).abs() / 2.0;
        check.all_equal(&[d * d, d * two.r], [two.v, two.xhat[0].abs()], (1.0 + two.v) * two.condition());
    }),
    ("(36) d L / d b = sum_l dx_l = 0", |case, check| {
        check.vanishes(&dx(case), case.dx_scale());
        // By the definition, with a bias that moves.
        let y = Defined::new(&moving(&case.x, |_| 1.0), still(case.gamma), still(case.beta), case.epsilon).y;
        let terms: Vec<f64> = y.iter().zip(&case.dy).map(|(y, dy)| y.1.to_f64() * dy).collect();
        check.vanishes(&terms, case.dx_scale());
    }),
    ("(37) y(t x; t^2 eps) = y(x; eps)", |case, check| {
        let t = 0.1 + Random::new(case.seed).uniform() * 10.0;
        let scaled: Vec<f64> = case.x.iter().map(|x| t * x).collect();
        let y = Defined::new(&scaled, case.gamma, case.beta, t * t * case.epsilon).y;
        check.all_equal(&y, case.y.iter().copied(), case.beta.abs() + case.gamma.abs() * case.condition());
        // So the gradient is 1/t as large, as the page says of eps = 0.
        let moved = Case { x: scaled, epsilon: t * t * case.epsilon, ..case.clone() };
        let dx: Vec<f64> = by_definition(&moved).iter().map(|dx| dx.to_f64() * t).collect();
        check.all_equal(&dx, by_definition(case), case.dx_scale());
    }),
    ("(38) sum_j w_j dw_j = eps / (v + eps) gamma dgamma", |case, check| {
        // x_l = sum_j w_j h_jl with three inputs, dw_j by the definition with w_j moving.
        let mut random = Random::new(case.seed);
        let w = random.normals(3, 0.0, 1.0);
        let h: Vec<Vec<f64>> = (0..3).map(|_| random.normals(case.n, 0.5, 1.0)).collect();
        let x = |moving: usize| -> Vec<Dual<DoubleDouble>> {
            let weight = |j: usize| Dual(wide(w[j]), wide(same(j, moving)));
            (0..case.n).map(|l| (0..3).fold(still(0.0), |sum, j| sum + weight(j) * still(h[j][l]))).collect()
        };
        let dw = |j| {
            let y = Defined::new(&x(j), still(case.gamma), still(case.beta), case.epsilon).y;
            y.iter().zip(&case.dy).fold(wide(0.0), |sum, (y, &dy)| sum + y.1 * wide(dy))
        };
        let along = (0..3).fold(wide(0.0), |sum, j| sum + wide(w[j]) * dw(j));
        let values: Vec<f64> = x(9).iter().map(|x| x.0.to_f64()).collect();
        let case = Case::of(
            [values, case.dy.clone(), case.direction.clone()],
            [case.gamma, case.beta, 0.0, 0.0],
            case.epsilon,
            case.seed,
        );
        let stated = case.share() * case.gamma * sum_of(&case.dy, &case.xhat);
        check.equal(stated, along, case.share() * case.gamma.abs() * products(&case) * case.condition());
    }),
];

/// (19).
pub fn dx(case: &Case) -> Vec<f64> {
    let (d, q) = (mean(&case.dy), mean_of(&case.dy, &case.xhat));
    case.list(|l| case.gamma * case.r * (case.dy[l] - d - case.xhat[l] * q))
}

/// dx of the definition, by dual numbers.
fn by_definition(case: &Case) -> Vec<DoubleDouble> {
    gradient_of(&case.x, &case.dy, |x| Defined::new(x, still(case.gamma), still(case.beta), case.epsilon).y)
}

/// What is said to be dx.
pub fn against_the_gradient(case: &Case, dx: &[f64], check: &mut Check) {
    check.all_equal(dx, by_definition(case), case.dx_scale());
}

/// dx, and dgamma and dbeta, of the layer.
fn backward(case: &Case) -> (Vec<f64>, [f64; 2]) {
    let (layer, x) = (case.layer(), column(&case.x));
    let saved = layer.forward_train(&x).expect("a batch").saved;
    let gradients = layer.backward(&x, &column(&case.dy), &saved).expect("a right call");
    let [dgamma, dbeta] = [gradients.dgamma, gradients.dbeta].map(|gradient| gradient.expect("a parameter")[0]);
    (gradients.dx.into_data(), [dgamma, dbeta])
}

fn staged_backward(case: &Case) -> staged::Backward<f64> {
    let nodes = staged::forward(&case.x, case.gamma, case.beta, case.epsilon);
    staged::backward(&nodes, case.gamma, &case.dy)
}

const MEAN: usize = 0;
const CENTERED: usize = 1;
const SQUARED: usize = 2;
const VARIANCE: usize = 3;
const DEVIATION: usize = 4;
const INVERSE: usize = 5;
const NORMALIZED: usize = 6;
const SCALED: usize = 7;

/// d sum_i dy_i y_i by a node, found by moving that node's values and going on forwards from there.
fn by_node(case: &Case, node: usize) -> Vec<DoubleDouble> {
    let single = [MEAN, VARIANCE, DEVIATION, INVERSE].contains(&node);
    (0..if single { 1 } else { case.n }).map(|moved| after_moving(case, node, moved)).collect()
}

fn after_moving(case: &Case, node: usize, moved: usize) -> DoubleDouble {
    type Number = Dual<DoubleDouble>;
    let n: Number = still(case.count());
    let all = |at: usize, values: Vec<Number>| -> Vec<Number> {
        let slope = |i| if at == node { same(i, moved) } else { 0.0 };
        values.into_iter().enumerate().map(|(i, value)| value + Dual(wide(0.0), wide(slope(i)))).collect()
    };
    let one = |at, value| all(at, vec![value])[0];
    let mean = |values: &[Number]| values.iter().fold(still(0.0), |sum, &value| sum + value) / n;
    let x: Vec<Number> = case.x.iter().map(|&x| still(x)).collect();
    let m = one(MEAN, mean(&x));
    let centered = all(CENTERED, x.iter().map(|&x| x - m).collect());
    let squared = all(SQUARED, centered.iter().map(|&c| c * c).collect());
    let variance = one(VARIANCE, mean(&squared));
    let deviation = one(DEVIATION, (variance + still(case.epsilon)).sqrt());
    let inverse = one(INVERSE, still(1.0) / deviation);
    let normalized = all(NORMALIZED, centered.iter().map(|&c| c * inverse).collect());
    let scaled = all(SCALED, normalized.iter().map(|&xhat| xhat * still(case.gamma)).collect());
    let loss = scaled.iter().zip(&case.dy).fold(still(0.0), |sum, (&s, &dy)| sum + (s + still(case.beta)) * still(dy));
    loss.1
}

/// A node of one value: the page's gradient against the definition's and the twin's.
fn scalar(case: &Case, check: &mut Check, stated: f64, node: usize, twin: f64, scale: f64) {
    check.all_equal(&[stated], by_node(case, node), scale * case.condition());
    check.equal(stated, twin, scale * case.condition());
}

/// (34) with a share of the batch, against the definition, the twin and the layer.
fn by_share(case: &Case, share: f64, check: &mut Check) {
    let running = [case.m + 0.7, 0.5 + case.v];
    let mix = |running: f64, batch: f64| running + share * (batch - running);
    let (m, v) = (mix(running[0], case.m), mix(running[1], case.v));
    let r = 1.0 / (v + case.epsilon).sqrt();
    let xhat = case.list(|i| (case.x[i] - m) * r);
    let (d, q) = (mean(&case.dy), mean_of(&case.dy, &xhat));
    let stated = if share == 0.0 {
        case.list(|l| case.gamma * r * case.dy[l])
    } else {
        case.list(|l| case.gamma * r * (case.dy[l] - share * d - share * (case.x[l] - case.m) * r * q))
    };
    let truth = gradient_of(&case.x, &case.dy, |x| {
        let batch = Defined::new(x, still(1.0), still(0.0), case.epsilon);
        let mix = |running: f64, batch: Dual<DoubleDouble>| still(running) + still(share) * (batch - still(running));
        let (m, v) = (mix(running[0], batch.m), mix(running[1], batch.v));
        x.iter().map(|&x| still(case.gamma) * (x - m) / (v + still(case.epsilon)).sqrt()).collect()
    });
    // xhat is about m, which may lie away from the batch.
    let scale = case.gamma.abs() * r * largest(&case.dy) * (1.0 + largest(&xhat)) * (1.0 + largest(&case.x) * r);
    check.all_equal(&stated, truth, scale);
    let statistics = mixed::Statistics { running, share };
    let twin = mixed::backward(&case.x, case.gamma, case.epsilon, statistics, true, &case.dy).dx;
    check.all_equal(&stated, twin, scale);
    check.all_equal(&stated, layer_by_share(case, running, share), scale);
}

fn layer_by_share(case: &Case, [mean, variance]: [f64; 2], share: f64) -> Vec<f64> {
    let normalize_by = match share {
        0.0 => NormalizeBy::Running,
        1.0 => NormalizeBy::Batch,
        share => NormalizeBy::Mix(UpdateWeight::of_new(share).expect("a weight")),
    };
    let rule = batchnorm::Config::pytorch().epsilon(case.epsilon).normalizer().expect("options");
    let running = RunningStatistics::from_parts(&[mean], &[variance], 1).expect("statistics");
    let parameters = Parameters { gamma: Some(&[case.gamma][..]), beta: Some(&[case.beta][..]) };
    let switches = Switches { normalize_by, ..Switches::train() };
    let (mut y, mut dx) = (vec![0.0; case.n], vec![0.0; case.n]);
    let x = column(&case.x);
    let (saved, _) =
        rule.forward(&x, parameters, switches, Some(&running), &mut column_mut(&mut y)).expect("a right call");
    saved.backward(&x, &column(&case.dy), &mut column_mut(&mut dx)).expect("a right call");
    dx
}

/// sum |dy xhat|.
fn products(case: &Case) -> f64 {
    case.dy.iter().zip(&case.xhat).map(|(dy, xhat)| (dy * xhat).abs()).sum()
}

/// sum |gamma dy c|, the terms of d inverse.
fn terms(case: &Case) -> f64 {
    case.gamma.abs() * products(case) / case.r
}

fn still(value: f64) -> Dual<DoubleDouble> {
    Dual::constant(value)
}
