//! Derivatives along a direction, of first and second order, against dual numbers through the twin in double-double
//! arithmetic. Their identities and degenerate input: `directional.rs`. Their bits: `bits.rs`.
//!
//! The measure, with u, kappa and W as in `accuracy.rs` and Z = max_i sum_j |W_ij| max|x'_j|, how far the direction may
//! go once it is whitened:
//!
//! - y': |error| / (|gamma| Z + |gamma'| max|xhat| + |beta'|);
//! - dx': max|error| / (sum_j |W_ij| (max|gamma dy| Z + max|gamma' dy|)), of each channel i;
//! - dgamma': |error| / (sum|dy| Z).

use super::accuracy::BOUND;
use super::cases::{Group, condition, groups, interleaved, layer, mixed, rows};
use crate::support::Random;
use crate::support::measure::ulp;
use crate::support::wide::{DoubleDouble, largest, wide, widened};
use batchnorm::reference::number::Dual;
use batchnorm::reference::whitening;
use batchnorm::{Axes, Element, ParameterDirection, View, ViewMut};

/// The direction in which a group moves, a row for each channel.
struct Along {
    x: Vec<Vec<f64>>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
}

impl Along {
    /// Each channel at its own size.
    fn new(group: &Group, random: &mut Random) -> Along {
        let (d, n) = (group.x.len(), group.x[0].len());
        let size = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / n as f64;
            (row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64 + group.epsilon).sqrt()
        };
        let x = group.x.iter().map(|row| random.normals(n, 0.3 * size(row), size(row))).collect();
        Along { x, gamma: random.normals(d, 0.0, 1.0), beta: random.normals(d, 0.0, 1.0) }
    }

    fn parameters(&self) -> ParameterDirection<'_> {
        ParameterDirection { gamma: Some(&self.gamma), beta: Some(&self.beta) }
    }
}

/// How output and gradients of a group move.
struct Moved<R> {
    y: Vec<Vec<R>>,
    dx: Vec<Vec<R>>,
    dgamma: Vec<R>,
}

/// By dual numbers in double-double arithmetic through the twin's two passes.
fn truth(group: &Group, along: &Along) -> Moved<DoubleDouble> {
    let dual = |value: &f64, slope: &f64| Dual(wide(*value), wide(*slope));
    let duals = |values: &[f64], slopes: &[f64]| -> Vec<_> {
        values.iter().zip(slopes).map(|(value, slope)| dual(value, slope)).collect()
    };
    let x: Vec<Vec<_>> = group.x.iter().zip(&along.x).map(|(x, t)| duals(x, t)).collect();
    let dy: Vec<Vec<_>> = group.dy.iter().map(|row| row.iter().map(|dy| dual(dy, &0.0)).collect()).collect();
    let (gamma, beta) = (duals(&group.gamma, &along.gamma), duals(&group.beta, &along.beta));
    let epsilon = dual(&group.epsilon, &0.0);
    let slopes = |rows: Vec<Vec<Dual<DoubleDouble>>>| -> Vec<Vec<DoubleDouble>> {
        rows.into_iter().map(|row| row.into_iter().map(|value| value.1).collect()).collect()
    };
    let backward = whitening::backward(&x, &gamma, epsilon, &dy);
    Moved {
        y: slopes(whitening::forward(&x, &gamma, &beta, epsilon).y),
        dx: slopes(backward.dx),
        dgamma: backward.dgamma.into_iter().map(|value| value.1).collect(),
    }
}

/// By the layer.
fn moved<T: Element>(group: &Group, along: &Along) -> Moved<f64> {
    let (d, n) = (group.x.len(), group.x[0].len());
    let [x, dy, t] = [&group.x, &group.dy, &along.x].map(|rows| interleaved::<T>(rows));
    let [x, dy, t] = [&x, &dy, &t].map(|data| View::new(data, &[n, d], Axes::NCHW).expect("rows of all channels"));
    let passed = layer(group).forward_train(&x).unwrap_or_else(|error| panic!("{}: {error}", group.name));
    let [mut y, mut dx] = [(); 2].map(|()| vec![T::from_f64(f64::NAN); n * d]);
    let out = |data| ViewMut::new(data, &[n, d], Axes::NCHW).expect("rows of all channels");
    passed.saved.jvp(&x, &t, along.parameters(), &mut out(&mut y)).expect("a right call");
    let of = passed.saved.hvp(&x, &dy, &t, along.parameters(), &mut out(&mut dx)).expect("a right call");
    assert_eq!(of.dbeta, vec![0.0; d]);
    Moved { y: rows(&y, d), dx: rows(&dx, d), dgamma: of.dgamma }
}

#[test]
fn along_a_direction_it_is_what_the_twin_says_by_the_condition_number() {
    let mut random = Random::new(1230);
    let mut all = groups(&mut random);
    for size in [1e3, 1e6] {
        let mut group = Group { name: "an outlier first", ..all[4].clone() };
        group.x[1][0] = size;
        all.push(group);
    }
    let (mut worst, mut most) = ([0.0f64; 3], 0.0f64);
    for group in &all {
        let along = Along::new(group, &mut random);
        let (got, truth) = (moved::<f64>(group, &along), truth(group, &along));
        let [x, gamma] = [group.x.iter().map(|row| widened(row)).collect(), vec![widened(&group.gamma)]];
        let forward = whitening::forward(&x, &gamma[0], &gamma[0], wide(group.epsilon));
        let kappa = condition(&forward.covariance, group.epsilon);
        let d = group.x.len();
        let row_of_root = |i: usize| forward.whitening[i].iter().map(|w| w.to_f64().abs()).sum::<f64>();
        let whitened = |i: usize| -> f64 {
            (0..d).map(|j| forward.whitening[i][j].to_f64().abs() * largest(along.x[j].iter().copied())).sum()
        };
        let z = largest((0..d).map(whitened));
        let xhat = largest(forward.normalized.iter().flatten().map(|value| value.to_f64()));
        let upstream = |scale: &[f64]| largest((0..d).map(|i| scale[i] * largest(group.dy[i].iter().copied())));
        let error = |got: &f64, truth: &DoubleDouble| (wide(*got) - *truth).to_f64();
        let row_error = |got: &[f64], truth: &[DoubleDouble]| largest(got.iter().zip(truth).map(|(a, b)| error(a, b)));
        let mut errors = [0.0f64; 3];
        for i in 0..d {
            let reach = group.gamma[i].abs() * z + along.gamma[i].abs() * xhat + along.beta[i].abs();
            errors[0] = errors[0].max(row_error(&got.y[i], &truth.y[i]) / reach);
            let reach = row_of_root(i) * (upstream(&group.gamma) * z + upstream(&along.gamma));
            errors[1] = errors[1].max(row_error(&got.dx[i], &truth.dx[i]) / reach);
            let reach = group.dy[i].iter().map(|dy| dy.abs()).sum::<f64>() * z;
            errors[2] = errors[2].max(error(&got.dgamma[i], &truth.dgamma[i]).abs() / reach);
        }
        let by_kappa = errors.map(|error| error / kappa);
        assert!(by_kappa.iter().all(|error| error.is_finite()), "{}: {errors:?}", group.name);
        (0..3).for_each(|k| worst[k] = worst[k].max(by_kappa[k]));
        most = most.max(kappa);
        if group.name != "random" {
            let (name, n, each) = (group.name, group.x[0].len(), by_kappa.map(|error| format!("{error:.1e}")));
            println!("{name:>26} d {d:2} n {n:3} kappa {kappa:.0e}: y', dx', dgamma' by kappa {}", each.join(" "));
        }
    }
    let [y, dx, dgamma] = worst;
    println!("{} groups, worst by kappa (up to {most:.0e}): y' {y:.1e}, dx' {dx:.1e}, dgamma' {dgamma:.1e}", all.len());
    assert!(worst.iter().all(|&worst| worst <= BOUND));
}

/// The twin's gradient along a direction is the twin's second derivative: of F = sum dy y, twice by dual numbers, with a
/// dual number in each.
#[test]
fn the_twin_differentiates_its_formula_twice() {
    type Twice = Dual<Dual<DoubleDouble>>;
    let mut random = Random::new(1231);
    let mut worst = 0.0f64;
    for group in groups(&mut random).iter().filter(|group| group.x.len() * group.x[0].len() <= 120) {
        let [one, two] = [(); 2].map(|()| Along::new(group, &mut random));
        let number = |value: f64, by_one: f64, by_two: f64| -> Twice {
            Dual(Dual(wide(value), wide(by_one)), Dual(wide(by_two), wide(0.0)))
        };
        let numbers = |values: &[f64], by_one: &[f64], by_two: &[f64]| -> Vec<Twice> {
            values.iter().zip(by_one.iter().zip(by_two)).map(|(value, (one, two))| number(*value, *one, *two)).collect()
        };
        let x: Vec<_> = (0..group.x.len()).map(|i| numbers(&group.x[i], &one.x[i], &two.x[i])).collect();
        let (gamma, beta) = (numbers(&group.gamma, &one.gamma, &two.gamma), numbers(&group.beta, &one.beta, &two.beta));
        let y = whitening::forward(&x, &gamma, &beta, number(group.epsilon, 0.0, 0.0)).y;
        let terms = y.iter().flatten().zip(group.dy.iter().flatten());
        let expected = terms.fold(wide(0.0), |sum, (y, &dy)| sum + y.1.1 * wide(dy));
        let along = truth(group, &one);
        let of_x = along.dx.iter().flatten().zip(two.x.iter().flatten());
        let products: Vec<_> =
            of_x.chain(along.dgamma.iter().zip(&two.gamma)).map(|(slope, &by)| *slope * wide(by)).collect();
        let sum = products.iter().fold(wide(0.0), |sum, &product| sum + product);
        let error = (sum - expected).to_f64().abs() / products.iter().map(|value| value.to_f64().abs()).sum::<f64>();
        assert!(error.is_finite());
        worst = worst.max(error);
    }
    println!("the twin's second derivative against dual numbers of dual numbers: {worst:.1e}");
    assert!(worst < 1e-18);
}

/// Outputs of narrower types are the twin's of the values as stored, rounded once.
#[test]
fn narrower_types_are_rounded_once() {
    fn check<T: Element>(name: &str, random: &mut Random) {
        let mut worst = [0.0f64; 2];
        for (d, n, mean) in [(3, 50, 0.5), (5, 300, 100.0), (2, 9, -3.0)] {
            let stored = |values: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
                values.into_iter().map(|row| row.into_iter().map(|v| T::from_f64(v).to_f64()).collect()).collect()
            };
            let x = stored(mixed(d, n, random, |_| (mean, 1.0)));
            let dy = stored((0..d).map(|_| random.normals(n, 0.2, 1.0)).collect());
            let gamma: Vec<f64> = (0..d).map(|i| 0.7 - i as f64).collect();
            let group = Group { name: "narrow", x, dy, gamma, beta: vec![0.25; d], epsilon: 1e-5 };
            let along = Along::new(&group, random);
            let along = Along { x: stored(along.x), ..along };
            let (got, truth) = (moved::<T>(&group, &along), truth(&group, &along));
            for (at, (got, truth)) in [(&got.y, &truth.y), (&got.dx, &truth.dx)].into_iter().enumerate() {
                let scale = largest(truth.iter().flatten().map(|value| value.to_f64()));
                for (got, truth) in got.iter().flatten().zip(truth.iter().flatten()) {
                    let truth = truth.to_f64();
                    // Beside the rounding, an f64's error, which matters where the value is near 0.
                    let allowed = (0.5 + 1e-3) * ulp::<T>(truth.abs()) + 1e-14 * scale;
                    let error = (got - truth).abs() / allowed;
                    worst[at] = worst[at].max(if error.is_nan() { f64::INFINITY } else { error });
                }
            }
        }
        println!("{name}: y' {:.3}, dx' {:.3} of what is allowed", worst[0], worst[1]);
        assert!(worst[0] <= 1.0 && worst[1] <= 1.0);
    }
    let mut random = Random::new(1232);
    check::<f32>("f32", &mut random);
    #[cfg(feature = "half")]
    {
        check::<half::f16>("f16", &mut random);
        check::<half::bf16>("bf16", &mut random);
    }
}
