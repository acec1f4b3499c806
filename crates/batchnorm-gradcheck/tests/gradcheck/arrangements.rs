//! Mistakes of arrangement: right formulas on values that stand elsewhere, judged over dx, dgamma and dbeta together.

use crate::Random;
use batchnorm::{Axes, Grouping, View};
use batchnorm_gradcheck::{Diagnosis, Nearest, Problem, Verdict};

/// dx, dgamma and dbeta of values whose channel (and group of statistics) is that of a place.
struct Gradients {
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

const EPSILON: f64 = 1e-3;

fn gradients(x: &[f64], dy: &[f64], gamma: &[f64], channel: &dyn Fn(usize) -> usize) -> Gradients {
    let channels = gamma.len();
    let sums = |term: &dyn Fn(usize) -> f64| {
        let mut sums = vec![0.0; channels];
        (0..x.len()).for_each(|i| sums[channel(i)] += term(i));
        sums
    };
    let n = (x.len() / channels) as f64;
    let mean: Vec<f64> = sums(&|i| x[i]).iter().map(|sum| sum / n).collect();
    let variance: Vec<f64> = sums(&|i| (x[i] - mean[channel(i)]).powi(2)).iter().map(|sum| sum / n).collect();
    let inverse: Vec<f64> = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
    let xhat = |i: usize| (x[i] - mean[channel(i)]) * inverse[channel(i)];
    let (dgamma, dbeta) = (sums(&|i| dy[i] * xhat(i)), sums(&|i| dy[i]));
    let dx = (0..x.len()).map(|i| {
        let c = channel(i);
        gamma[c] * inverse[c] * (dy[i] - dbeta[c] / n - xhat(i) * dgamma[c] / n)
    });
    Gradients { dx: dx.collect(), dgamma, dbeta }
}

fn view<'a>(values: &'a [f64], shape: &[usize], axis: isize) -> View<'a, f64> {
    View::new(values, shape, Axes::Channel(axis)).expect("an array")
}

/// The diagnosis of gradients that may be held in f32 (then all of the input is).
fn judged(case: &Case, theirs: &Gradients) -> Diagnosis {
    let Case { shape, axis, x, dy, gamma, .. } = case;
    let problem =
        Problem::batch_norm(&view(x, shape, *axis), &view(dy, shape, *axis), gamma, EPSILON).expect("a problem");
    let rounded = |values: &[f64]| -> Vec<f64> {
        values.iter().map(|&value| if case.narrow { f64::from(value as f32) } else { value }).collect()
    };
    let (dx, dgamma, dbeta) = (rounded(&theirs.dx), rounded(&theirs.dgamma), rounded(&theirs.dbeta));
    let given = problem.given().dx(&view(&dx, shape, *axis)).expect("its shape");
    given.dgamma(&dgamma).expect("its length").dbeta(&dbeta).expect("its length").diagnose().expect("a diagnosis")
}

struct Case {
    shape: Vec<usize>,
    axis: isize,
    x: Vec<f64>,
    dy: Vec<f64>,
    gamma: Vec<f64>,
    narrow: bool,
}

impl Case {
    fn new(shape: &[usize], axis: isize, narrow: bool, random: &mut Random) -> Case {
        let len = shape.iter().product();
        let rounded = |values: Vec<f64>| {
            values.into_iter().map(|value| if narrow { f64::from(value as f32) } else { value }).collect::<Vec<f64>>()
        };
        let channels = shape[axis as usize];
        let gamma = (0..channels).map(|_| (0.4 + random.uniform()) * if random.below(2) == 0 { 1.6 } else { -0.9 });
        let gamma = gamma.collect();
        let (x, dy) = (rounded(random.normals(len, 1.0, 1.5)), rounded(random.normals(len, 0.2, 1.0)));
        Case { shape: shape.to_vec(), axis, x, dy, gamma, narrow }
    }

    /// The channel of a place.
    fn channel(&self) -> impl Fn(usize) -> usize {
        let inner: usize = self.shape[self.axis as usize + 1..].iter().product();
        let channels = self.gamma.len();
        move |place| place / inner % channels
    }

    fn right(&self) -> Gradients {
        gradients(&self.x, &self.dy, &self.gamma, &self.channel())
    }

    /// An array with its samples (slices of the first axis) in this order.
    fn in_order(&self, values: &[f64], order: &[usize]) -> Vec<f64> {
        let each = values.len() / order.len();
        order.iter().flat_map(|&sample| values[sample * each..][..each].to_vec()).collect()
    }
}

/// All that is wrong goes by this name alone; and something is.
fn assert_named(diagnosis: &Diagnosis, name: &str, what: &str) {
    println!("{what}: {name}");
    assert!(diagnosis.is_wrong(), "{what}");
    for (which, found) in diagnosis.all() {
        if found.verdict.is_wrong() {
            let names: Vec<&str> = found.verdict.mistakes().iter().map(|mistake| mistake.name).collect();
            assert_eq!(names, [name], "{what}: {which} {:?}", found.verdict);
        }
    }
}

const SHAPES: [(&[usize], isize); 8] = [
    (&[6, 3, 4, 5], 1),
    (&[6, 4, 5, 3], 3),
    (&[9, 4, 8], 1),
    (&[9, 8, 4], 2),
    (&[4, 4, 7], 1),
    (&[2, 3, 5, 4, 2], 1),
    (&[40, 5], 1),
    (&[16, 2, 3, 3], 1),
];

#[test]
fn a_reshape_without_a_transposition_is_named() {
    let mut random = Random::new(3001);
    for narrow in [false, true] {
        for (shape, axis) in SHAPES {
            let case = Case::new(shape, axis, narrow, &mut random);
            let (len, channels) = (case.x.len(), case.gamma.len());
            let inner: usize = shape[axis as usize + 1..].iter().product();
            // Forward and backward over x.reshape(-1, C), x.reshape(N, C, -1), x.reshape(C, -1).
            for read in [1, len / channels / shape[0], len / channels] {
                // (Of as many samples as channels, x.reshape(C, -1) is another axis.)
                if read == inner || read == len / channels && shape[0] == channels {
                    continue;
                }
                let theirs = gradients(&case.x, &case.dy, &case.gamma, &|place| place / read % channels);
                assert_named(
                    &judged(&case, &theirs),
                    "reshape without a transposition",
                    &format!("{shape:?} as {read}"),
                );
            }
            // dx put back by a reshape alone: the values stand in the order of a transposed array.
            if inner > 1 && shape[0] > 1 {
                let right = case.right();
                let samples = shape[0];
                let rest = len / samples;
                let mut dx = Vec::new();
                for sample in 0..samples {
                    let of = &right.dx[sample * rest..][..rest];
                    // (C, rest) to (rest, C) in each sample.
                    (0..rest).for_each(|at| dx.push(of[at % channels * (rest / channels) + at / channels]));
                }
                if axis == 1 {
                    let theirs = Gradients { dx, ..right };
                    assert_named(
                        &judged(&case, &theirs),
                        "reshape without a transposition",
                        &format!("{shape:?} back"),
                    );
                }
            }
            // dgamma and dbeta alone: (dy * xhat).reshape(-1, C).sum(0).
            if inner > 1 {
                let right = case.right();
                let channel = case.channel();
                let means: Vec<f64> = (0..channels)
                    .map(|c| {
                        let own = (0..len).filter(|&i| channel(i) == c).map(|i| case.x[i]);
                        own.sum::<f64>() / (len / channels) as f64
                    })
                    .collect();
                let deviations: Vec<f64> = (0..channels)
                    .map(|c| {
                        let own = (0..len).filter(|&i| channel(i) == c).map(|i| (case.x[i] - means[c]).powi(2));
                        (own.sum::<f64>() / (len / channels) as f64 + EPSILON).sqrt()
                    })
                    .collect();
                let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
                for i in 0..len {
                    let c = channel(i);
                    dgamma[i % channels] += case.dy[i] * (case.x[i] - means[c]) / deviations[c];
                    dbeta[i % channels] += case.dy[i];
                }
                let theirs = Gradients { dgamma, dbeta, ..right };
                assert_named(&judged(&case, &theirs), "reshape without a transposition", &format!("{shape:?} sums"));
            }
        }
    }
}

#[test]
fn another_channel_axis_is_named() {
    let mut random = Random::new(3002);
    for narrow in [false, true] {
        for (shape, axis, other) in [
            (&[5, 4, 4][..], 1, 2),
            (&[5, 4, 4], 2, 1),
            (&[6, 6, 3], 1, 0),
            (&[3, 5, 7, 5], 1, 3),
            (&[3, 5, 5, 7], 1, 2),
            (&[8, 8], 1, 0),
        ] {
            let case = Case::new(shape, axis, narrow, &mut random);
            let inner: usize = shape[other + 1..].iter().product();
            let theirs = gradients(&case.x, &case.dy, &case.gamma, &|place| place / inner % shape[other]);
            assert_named(&judged(&case, &theirs), "another axis", &format!("{shape:?} {axis} for {other}"));
        }
    }
    // Layer norm over another axis than the last.
    for shape in [[6, 5, 5], [5, 4, 5]] {
        let len = shape.iter().product();
        let (x, dy) = (random.normals(len, 1.0, 1.5), random.normals(len, 0.2, 1.0));
        let gamma = [1.3, 0.6, -0.8, 2.0, 0.9];
        let [x_view, dy_view] = [&x, &dy].map(|values| view(values, &shape, 1));
        let problem = Problem::sample_norm(Grouping::Layer { axes: 1 }, &x_view, &dy_view, &gamma, EPSILON);
        let problem = problem.expect("a problem");
        let other = if shape[1] == 5 { 1 } else { 0 };
        let step: usize = shape[other + 1..].iter().product();
        let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; len], vec![0.0; 5], vec![0.0; 5]);
        for first in (0..len).filter(|place| (place / step).is_multiple_of(5)) {
            let places: Vec<usize> = (0..5).map(|at| first + at * step).collect();
            let own = |values: &[f64]| places.iter().map(|&place| values[place]).collect::<Vec<f64>>();
            let scaled: Vec<f64> = own(&dy).iter().zip(gamma).map(|(dy, gamma)| dy * gamma).collect();
            let of_row = gradients(&own(&x), &scaled, &[1.0], &|_| 0);
            let only = |at: usize| (0..5).map(|i| if i == at { own(&dy)[i] } else { 0.0 }).collect::<Vec<f64>>();
            for (at, &place) in places.iter().enumerate() {
                dx[place] = of_row.dx[at];
                dgamma[at] += gradients(&own(&x), &only(at), &[1.0], &|_| 0).dgamma[0];
                dbeta[at] += dy[place];
            }
        }
        let found = problem.given().dx(&view(&dx, &shape, 1)).and_then(|given| given.dgamma(&dgamma));
        let found =
            found.and_then(|given| given.dbeta(&dbeta)).and_then(|given| given.diagnose()).expect("a diagnosis");
        assert_named(&found, "another axis", &format!("layer norm of {shape:?}"));
    }
}

#[test]
fn samples_in_another_order_are_named() {
    let mut random = Random::new(3003);
    for narrow in [false, true] {
        for (shape, axis) in SHAPES.into_iter().filter(|(shape, _)| shape[0] > 2) {
            let case = Case::new(shape, axis, narrow, &mut random);
            let mut shuffled: Vec<usize> = (0..shape[0]).collect();
            for at in (1..shape[0]).rev() {
                shuffled.swap(at, random.below(at + 1));
            }
            let turned: Vec<usize> = (0..shape[0]).rev().collect();
            let mut one_pair: Vec<usize> = (0..shape[0]).collect();
            one_pair.swap(0, 2);
            for order in [shuffled, turned, one_pair] {
                if order.iter().enumerate().all(|(at, &of)| at == of) {
                    continue;
                }
                let what = format!("{shape:?} {order:?}");
                let right = case.right();
                let theirs = Gradients { dx: case.in_order(&right.dx, &order), ..right };
                assert_named(&judged(&case, &theirs), "samples in another order", &format!("dx, {what}"));
                let x = case.in_order(&case.x, &order);
                let theirs = gradients(&x, &case.dy, &case.gamma, &case.channel());
                assert_named(&judged(&case, &theirs), "samples in another order", &format!("x, {what}"));
                let dy = case.in_order(&case.dy, &order);
                let theirs = gradients(&case.x, &dy, &case.gamma, &case.channel());
                assert_named(&judged(&case, &theirs), "samples in another order", &format!("dy, {what}"));
            }
        }
    }
}

/// dx alone tells it too, for the sums are what is right of another order but for x or dy.
#[test]
fn dx_alone_tells_the_order_of_samples() {
    let mut random = Random::new(3004);
    for (shape, axis) in SHAPES.into_iter().filter(|(shape, _)| shape[0] > 2) {
        let case = Case::new(shape, axis, false, &mut random);
        let order: Vec<usize> = (0..shape[0]).map(|at| (at + 1) % shape[0]).collect();
        let [x, dy] = [&case.x, &case.dy].map(|values| case.in_order(values, &order));
        for (x, dy) in [(&x, &case.dy), (&case.x, &dy)] {
            let theirs = gradients(x, dy, &case.gamma, &case.channel());
            let [x, dy] = [&case.x, &case.dy].map(|values| view(values, shape, axis));
            let problem = Problem::batch_norm(&x, &dy, &case.gamma, EPSILON).expect("a problem");
            let found = problem.given().dx(&view(&theirs.dx, shape, axis)).and_then(|given| given.diagnose());
            assert_named(&found.expect("a diagnosis"), "samples in another order", &format!("{shape:?}"));
        }
    }
}

/// In norms that look at each sample by itself, x and dy of different batches.
#[test]
fn samples_of_other_norms_in_another_order_are_named() {
    let mut random = Random::new(3006);
    let shape = [6, 4, 3];
    let (x, dy) = (random.normals(72, 1.0, 1.5), random.normals(72, 0.2, 1.0));
    let order = [3, 0, 1, 2, 5, 4];
    let shuffled =
        |values: &[f64]| order.iter().flat_map(|&sample| values[sample * 12..][..12].to_vec()).collect::<Vec<f64>>();
    for grouping in [
        Grouping::Layer { axes: 2 },
        Grouping::Rms { axes: 2 },
        Grouping::Group { groups: 2 },
        Grouping::GroupRms { groups: 2 },
        Grouping::Instance,
    ] {
        let parameters = if matches!(grouping, Grouping::Layer { .. } | Grouping::Rms { .. }) { 12 } else { 4 };
        let gamma: Vec<f64> = (0..parameters).map(|_| 0.5 + random.uniform()).collect();
        for (other_x, other_dy) in [(shuffled(&x), dy.clone()), (x.clone(), shuffled(&dy))] {
            let theirs = batchnorm::SampleConfig::of(grouping).epsilon(EPSILON).normalizer().expect("a rule");
            let (mut y, mut dx) = (vec![0.0; 72], vec![0.0; 72]);
            let of = |values| view(values, &shape, 1);
            let parameters = batchnorm::Parameters { gamma: Some(&gamma[..]), beta: None };
            let mut out = batchnorm::ViewMut::new(&mut y, &shape, Axes::NCHW).expect("an array");
            let saved = theirs.forward(&of(&other_x), parameters, &mut out).expect("a pass");
            let mut out = batchnorm::ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("an array");
            let sums = saved.backward(&of(&other_x), &of(&other_dy), &mut out).expect("a pass");
            let problem = Problem::sample_norm(grouping, &of(&x), &of(&dy), &gamma, EPSILON).expect("a problem");
            let given = problem.given().dx(&of(&dx)).and_then(|given| given.dgamma(&sums.dgamma));
            let found = given.and_then(|given| given.dbeta(&sums.dbeta)).and_then(|given| given.diagnose());
            assert_named(&found.expect("a diagnosis"), "samples in another order", &format!("{grouping:?}"));
        }
    }
}

/// What has nothing to do with the gradient is near to no mistake.
#[test]
fn what_is_as_far_away_as_the_gradient_is_large_is_not_called_near() {
    let mut random = Random::new(3005);
    for (shape, axis) in SHAPES {
        let case = Case::new(shape, axis, false, &mut random);
        let right = case.right();
        let size = |values: &[f64]| values.iter().fold(0.0f64, |size, value| size.max(value.abs()));
        let noise = |values: &[f64], random: &mut Random| random.normals(values.len(), 0.0, 0.6 * size(values));
        let theirs = Gradients {
            dx: noise(&right.dx, &mut random),
            dgamma: noise(&right.dgamma, &mut random),
            dbeta: noise(&right.dbeta, &mut random),
        };
        for (which, found) in judged(&case, &theirs).all() {
            assert!(found.verdict.is_wrong(), "{shape:?} {which}");
            assert!(
                matches!(found.verdict, Verdict::Unexplained { nearest: Nearest::Nothing, .. }),
                "{shape:?} {which}: {:?}",
                found.verdict
            );
        }
        // And what is off by little still is.
        let off = Gradients { dx: right.dx.iter().map(|dx| dx + 0.01 * size(&right.dx)).collect(), ..right };
        let found = judged(&case, &off).dx.expect("given").verdict;
        let near = |verdict: &Verdict| match verdict {
            Verdict::Unexplained { nearest, .. } => *nearest != Nearest::Nothing,
            _ => false,
        };
        assert!(near(&found), "{shape:?}: {found:?}");
    }
}
