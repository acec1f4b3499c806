//! (1) to (17): what comes out of the layer, and how it moves with its input.

use super::{Case, Check, Defined, Equation, by_value, column, largest, mean, mean_of, same, wide};
use crate::support::wide::DoubleDouble;
use batchnorm::reference::jacobian::jacobian;
use batchnorm::{Config, Moments, inverse_deviation, undoing};

pub const EQUATIONS: &[Equation] = &[
    ("(1) m = 1/n sum_i x_i", |case, check| {
        let m = case.x.iter().sum::<f64>() / case.count();
        check.equal(m, Moments::of(&case.x).mean(), largest(&case.x));
    }),
    ("(2) v = 1/n sum_i (x_i - m)^2", |case, check| {
        let v = case.x.iter().map(|x| (x - case.m) * (x - case.m)).sum::<f64>() / case.count();
        check.equal(v, Moments::of(&case.x).population_variance(), v * case.condition());
    }),
    ("(3) r = 1 / sqrt(v + eps)", |case, check| {
        let r = 1.0 / (case.v + case.epsilon).sqrt();
        let moments = Moments::of(&case.x);
        check.equal(r, inverse_deviation(moments.population_variance(), case.epsilon), r * case.condition());
    }),
    ("(4) xhat_i = (x_i - m) r", |case, check| {
        let xhat = case.list(|i| (case.x[i] - case.m) * case.r);
        let plain = Config::pytorch().epsilon(case.epsilon).channels(1).build().expect("options");
        let y = plain.forward_train(&column(&case.x)).expect("a batch").y;
        check.all_equal(&xhat, y.data().iter().copied(), largest(&xhat) * case.condition());
    }),
    ("(5) y_i = gamma xhat_i + beta", |case, check| {
        let y = case.list(|i| case.gamma * case.xhat[i] + case.beta);
        let kernel = case.layer().forward_train(&column(&case.x)).expect("a batch").y;
        check.all_equal(&y, kernel.data().iter().copied(), y_scale(case));
    }),
    ("(6) mean(y) = beta, 1/n sum_i (y_i - beta)^2 = gamma^2 v / (v + eps)", |case, check| {
        let y = exactly(case).y;
        let n = wide(case.count());
        let about = |center: DoubleDouble, power: usize| {
            let term = |&y: &DoubleDouble| (0..power).fold(wide(1.0), |product, _| product * (y - center));
            y.iter().map(term).fold(wide(0.0), |sum, term| sum + term) / n
        };
        check.equal(case.beta, about(wide(0.0), 1), y_scale(case));
        let variance = case.gamma.powi(2) * case.v / (case.v + case.epsilon);
        check.equal(variance, about(wide(case.beta), 2), variance * case.condition());
    }),
    ("(7) (y_i - mean(y)) / sqrt(variance(y)) = sign(gamma) (x_i - m) / sqrt(v)", |case, check| {
        let right = case.list(|i| case.gamma.signum() * case.c[i] / case.v.sqrt());
        // The left side is y normalised, with no eps.
        let left = Defined::new(&exactly(case).y, wide(1.0), wide(0.0), 0.0).xhat;
        check.all_equal(&right, left, largest(&case.x) / case.v.sqrt() + 1.0);
    }),
    ("(8) gamma = sqrt(v + eps), beta = m ==> y_i = x_i", |case, check| {
        let (gamma, beta) = ((case.v + case.epsilon).sqrt(), case.m);
        let mut layer = case.layer();
        layer.set_gamma(&[gamma]).expect("one gamma");
        layer.set_beta(&[beta]).expect("one beta");
        let y = layer.forward_train(&column(&case.x)).expect("a batch").y;
        check.all_equal(&case.x, y.data().iter().copied(), largest(&case.x));
        let (library_gamma, library_beta) = undoing(case.m, case.v, case.epsilon);
        check.all_equal(&[gamma, beta], [library_gamma, library_beta], gamma + beta.abs());
    }),
    ("(9) d m / d x_l = 1/n", |case, check| {
        (0..case.n).for_each(|l| check.equal(1.0 / case.count(), by_value(case, l).m.1, 1.0));
    }),
    ("(10) d c_i / d x_l = [i = l] - 1/n", |case, check| {
        let stated = case.table(|i, l| same(i, l) - 1.0 / case.count());
        check.all_equal(&stated, by_all(case, |defined, i| defined.c[i].1), 1.0);
    }),
    ("(11) d v / d x_l = 2/n sum_i c_i ([i = l] - 1/n) = 2/n c_l", |case, check| {
        let n = case.count();
        let sum = |l| 2.0 / n * (0..case.n).map(|i| case.c[i] * (same(i, l) - 1.0 / n)).sum::<f64>();
        for l in 0..case.n {
            let truth = by_value(case, l).v.1;
            check.all_equal(&[sum(l), 2.0 / n * case.c[l]], [truth, truth], largest(&case.x) / n);
        }
    }),
    ("(12) d r / d x_l = -1/2 (v + eps)^(-3/2) 2/n c_l = -r^2 xhat_l / n", |case, check| {
        let n = case.count();
        let chain = |l: usize| -0.5 * (case.v + case.epsilon).powf(-1.5) * 2.0 / n * case.c[l];
        let short = |l: usize| -case.r.powi(2) * case.xhat[l] / n;
        for l in 0..case.n {
            let truth = by_value(case, l).r.1;
            check.all_equal(&[chain(l), short(l)], [truth, truth], case.r.powi(2) / n * case.condition());
        }
    }),
    (
        "(13) d xhat_i / d x_l = r d c_i / d x_l + c_i d r / d x_l = r ([i = l] - 1/n - xhat_i xhat_l / n)",
        |case, check| {
            let n = case.count();
            let product =
                case.table(|i, l| case.r * (same(i, l) - 1.0 / n) + case.c[i] * (-case.r.powi(2) * case.xhat[l] / n));
            let short = case.table(|i, l| case.r * (same(i, l) - 1.0 / n - case.xhat[i] * case.xhat[l] / n));
            for stated in [product, short] {
                check.all_equal(&stated, by_all(case, |defined, i| defined.xhat[i].1), case.r * case.condition());
            }
        },
    ),
    ("(14) d y_i / d x_l = gamma r ([i = l] - 1/n - xhat_i xhat_l / n)", |case, check| {
        let (stated, scale) = (matrix(case), (case.gamma * case.r).abs() * case.condition());
        check.all_equal(&stated, by_all(case, |defined, i| defined.y[i].1), scale);
        check.all_equal(&stated, jacobian(&case.x, case.gamma, case.epsilon), scale);
    }),
    ("(15) xhat_l = d/dx_l n sqrt(v + eps)", |case, check| {
        // sqrt(v + eps) is 1 / r.
        let slope = |l| {
            let r = by_value(case, l).r;
            -(wide(case.count()) * r.1 / (r.0 * r.0))
        };
        check.all_equal(&case.xhat, (0..case.n).map(slope), largest(&case.xhat) * case.condition());
    }),
    ("(16) sum_l d y_i / d x_l = 0", |case, check| {
        let matrix = matrix(case);
        matrix.chunks(case.n).for_each(|row| check.vanishes(row, (case.gamma * case.r).abs() * case.condition()));
        // Seen from the layer: a shift moves nothing.
        let shifted: Vec<f64> = case.x.iter().map(|x| x + 1.0).collect();
        let y = Defined::new(&shifted, case.gamma, case.beta, case.epsilon).y;
        check.all_equal(&y, case.y.iter().copied(), y_scale(case));
    }),
    ("(17) sum_l d y_i / d x_l xhat_l = eps / (v + eps) gamma r xhat_i", |case, check| {
        let stated = case.list(|i| case.share() * case.gamma * case.r * case.xhat[i]);
        // Exactly: the sum cancels to a share of eps of its terms.
        let along = |i: usize| {
            let slope = |l| by_value(case, l).y[i].1 * exactly(case).xhat[l];
            (0..case.n).map(slope).fold(wide(0.0), |sum, term| sum + term)
        };
        let scale = case.share() * (case.gamma * case.r).abs() * largest(&case.xhat) * case.condition();
        check.all_equal(&stated, (0..case.n).map(along), scale);
    }),
];

/// (14), row after row.
fn matrix(case: &Case) -> Vec<f64> {
    let n = case.count();
    case.table(|i, l| case.gamma * case.r * (same(i, l) - 1.0 / n - case.xhat[i] * case.xhat[l] / n))
}

/// The definition in double-double.
fn exactly(case: &Case) -> Defined<DoubleDouble> {
    let x: Vec<DoubleDouble> = case.x.iter().map(|&x| wide(x)).collect();
    Defined::new(&x, wide(case.gamma), wide(case.beta), case.epsilon)
}

/// A value of each i and l, row after row, from the definition in which x_l moves.
fn by_all(
    case: &Case,
    value: impl Fn(&Defined<super::Dual<DoubleDouble>>, usize) -> DoubleDouble,
) -> Vec<DoubleDouble> {
    let columns: Vec<_> = (0..case.n).map(|l| by_value(case, l)).collect();
    (0..case.n)
        .flat_map(|i| columns.iter().map(move |column| (column, i)))
        .map(|(column, i)| value(column, i))
        .collect()
}

fn y_scale(case: &Case) -> f64 {
    case.beta.abs() + case.gamma.abs() * case.condition()
}

/// The example's rows, in units of gamma r / 15, and what the page says of (16) and (17).
#[test]
fn rows_of_the_example() {
    let example = super::page::example();
    let unit = example.gamma * example.r / 15.0;
    let rows: Vec<f64> = matrix(&example).iter().map(|entry| entry / unit).collect();
    let expected = [6.0, -7.0, 1.0, -7.0, 9.0, -2.0, 1.0, -2.0, 1.0];
    let mut check = Check::default();
    check.all_equal(&rows, expected, 9.0);
    assert!(check.worst < 1e-14, "{rows:?}");
    assert!((example.share() - 1.0 / 15.0).abs() < 1e-15);
    assert!((mean(&example.xhat)).abs() < 1e-15);
    assert!((mean_of(&example.xhat, &example.xhat) - 14.0 / 15.0).abs() < 1e-15);
}
