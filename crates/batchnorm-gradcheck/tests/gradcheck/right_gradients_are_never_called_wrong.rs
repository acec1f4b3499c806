//! Right gradients are never called wrong, however plainly they were computed; and what cannot be told apart is said to be so.

use crate::Random;
use crate::planted::{Flaw, planted};
use batchnorm::{Axes, Config, Element, Grouping, View};
use batchnorm_gradcheck::{Problem, Verdict};
use batchnorm_reference::{Real, compact, rows};

/// One channel with its right gradients, as somebody computed them.
pub struct Channel {
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    pub gamma: f64,
    pub epsilon: f64,
}

/// How a right gradient is computed.
#[derive(Debug, Clone, Copy)]
enum How {
    Staged,
    Compact,
    /// mean(x^2) - mean(x)^2
    OnePass,
    /// dx = a dy + b x + c and dgamma = r (sum dy x - m sum dy): nothing centred, as libraries fuse it.
    Fused,
    /// Summed from the end.
    Reversed,
    Kernel,
}

const HOWS: [How; 6] = [How::Staged, How::Compact, How::OnePass, How::Fused, How::Reversed, How::Kernel];

type Three = (Vec<f64>, f64, f64);

impl Channel {
    fn by<R: Real + Into<f64> + Element>(&self, how: How) -> Three {
        let of = |values: &[f64]| values.iter().map(|&value| R::constant(value)).collect::<Vec<R>>();
        let (x, dy) = (of(&self.x), of(&self.dy));
        let (gamma, eps) = (R::constant(self.gamma), R::constant(self.epsilon));
        let (dx, dgamma, dbeta) = match how {
            How::Staged => planted(&x, gamma, eps, &dy, Flaw::Nothing),
            How::Compact => {
                let all = compact::backward(&x, gamma, eps, &dy);
                (all.dx, all.dgamma, all.dbeta)
            }
            How::Reversed => {
                let back = |values: &[R]| values.iter().rev().copied().collect::<Vec<R>>();
                let (dx, dgamma, dbeta) = planted(&back(&x), gamma, eps, &back(&dy), Flaw::Nothing);
                (back(&dx), dgamma, dbeta)
            }
            How::Fused => {
                let n = R::constant(x.len() as f64);
                let total = |of: &dyn Fn(usize) -> R| (0..x.len()).fold(R::constant(0.0), |sum, i| sum + of(i));
                let m = total(&|i| x[i]) / n;
                let v = total(&|i| (x[i] - m) * (x[i] - m)) / n;
                let r = R::constant(1.0) / (v + eps).sqrt();
                let dbeta = total(&|i| dy[i]);
                let dgamma = (total(&|i| dy[i] * x[i]) - m * dbeta) * r;
                let (a, b) = (gamma * r, -(gamma * r * r * dgamma / n));
                let c = -(b * m + a * dbeta / n);
                ((0..x.len()).map(|i| a * dy[i] + (b * x[i] + c)).collect(), dgamma, dbeta)
            }
            How::OnePass => {
                let n = R::constant(x.len() as f64);
                let total = |of: &dyn Fn(usize) -> R| (0..x.len()).fold(R::constant(0.0), |sum, i| sum + of(i));
                let m = total(&|i| x[i]) / n;
                let v = total(&|i| x[i] * x[i]) / n - m * m;
                let r = R::constant(1.0) / (v + eps).sqrt();
                let dgamma = total(&|i| dy[i] * ((x[i] - m) * r));
                let dbeta = total(&|i| dy[i]);
                let dx = |i: usize| gamma * r * (dy[i] - dbeta / n - (x[i] - m) * r * (dgamma / n));
                ((0..x.len()).map(dx).collect(), dgamma, dbeta)
            }
            How::Kernel => {
                let shape = [x.len(), 1];
                let mut layer = Config::pytorch().epsilon(self.epsilon).channels(1).build().unwrap();
                layer.set_gamma(&[self.gamma]).unwrap();
                let view = View::new(&x, &shape, Axes::NCHW).unwrap();
                let saved = layer.forward_train(&view).unwrap().saved;
                let gradients = layer.backward(&view, &View::new(&dy, &shape, Axes::NCHW).unwrap(), &saved).unwrap();
                let wide = |values: Vec<R::Param>| batchnorm::Number::to_f64(values[0]);
                let dx = gradients.dx.data().iter().map(|&value| value.into()).collect();
                return (dx, wide(gradients.dgamma.unwrap()), wide(gradients.dbeta.unwrap()));
            }
        };
        (dx.into_iter().map(Into::into).collect(), dgamma.into(), dbeta.into())
    }

    /// x and dy as F, the gradients as G.
    fn judged<F: Element, G: Element>(&self, (dx, dgamma, dbeta): &Three) -> [Verdict; 3] {
        let shape = [self.x.len(), 1];
        let of = |values: &[f64]| values.iter().map(|&value| F::from_f64(value)).collect::<Vec<F>>();
        let (x, dy) = (of(&self.x), of(&self.dy));
        let [x, dy] = [&x, &dy].map(|values| View::new(values, &shape, Axes::NCHW).unwrap());
        let problem = Problem::batch_norm(&x, &dy, &[self.gamma], self.epsilon).unwrap();
        let dx: Vec<G> = dx.iter().map(|&value| G::from_f64(value)).collect();
        let given = problem.given().dx(&View::new(&dx, &shape, Axes::NCHW).unwrap()).unwrap();
        let given = given.dgamma(&[G::from_f64(*dgamma)]).unwrap().dbeta(&[G::from_f64(*dbeta)]).unwrap();
        let all = given.diagnose().unwrap();
        [all.dx, all.dgamma, all.dbeta].map(|finding| finding.unwrap().verdict)
    }
}

/// Inputs from easy to cruel, exactly representable in f32.
pub fn channel(case: usize, random: &mut Random) -> Channel {
    let n = match case % 25 {
        0 if case.is_multiple_of(75) => 20_000 + random.below(80_000),
        1..=3 => 500 + random.below(5000),
        4..=6 => 2,
        _ => 2 + random.below(60),
    };
    let single = |value: f64| f64::from(value as f32);
    let deviation = [1.0, 1e-3, 30.0, 1e-6, 1.0][random.below(5)];
    let mean = deviation * [0.0, 1.0, -10.0, 100.0, -1e3, 1e4][random.below(6)];
    let mut x: Vec<f64> = random.normals(n, mean, deviation).into_iter().map(single).collect();
    match random.below(12) {
        // An outlier; few distinct values; all alike; two values.
        0 => x[0] = single(mean + 100.0 * deviation),
        1 => x.iter_mut().for_each(|x| *x = single((*x / deviation).round() * deviation)),
        2 => x.fill(single(mean)),
        3 => x.iter_mut().enumerate().for_each(|(i, x)| *x = single(mean + deviation * f64::from(i as u32 % 2))),
        _ => {}
    }
    let mean_of_dy = [0.0, 0.3, -5.0][random.below(3)];
    let mut dy: Vec<f64> = random.normals(n, mean_of_dy, 1.0).into_iter().map(single).collect();
    match random.below(8) {
        // The gradient of a mean; one value alone; small; 0.
        0 => dy.fill(single(1.0 / n as f64)),
        1 => dy[1..].fill(0.0),
        2 => dy.iter_mut().for_each(|dy| *dy = single(*dy * 1e-6)),
        3 if case.is_multiple_of(7) => dy.fill(0.0),
        _ => {}
    }
    let gamma = [1.0, 0.7, -2.5, 1e-3, 0.0][random.below(5)];
    let epsilon = single([1e-5, 1e-3, 1e-8, 1e-12, 1.0][random.below(5)]);
    Channel { x, dy, gamma: single(gamma), epsilon }
}

#[test]
fn right_gradients_are_never_called_wrong() {
    let mut random = Random::new(611);
    let mut counts = [0usize; 3];
    let mut judged = 0;
    for case in 0..150 {
        let channel = channel(case, &mut random);
        for how in HOWS {
            let single = channel.by::<f32>(how);
            let double = channel.by::<f64>(how);
            let finite = |(dx, dgamma, dbeta): &Three| dx.iter().chain([dgamma, dbeta]).all(|value| value.is_finite());
            let mut check = |verdicts: [Verdict; 3], what: &str| {
                for (verdict, which) in verdicts.into_iter().zip(["dx", "dgamma", "dbeta"]) {
                    let n = channel.x.len();
                    let (gamma, eps) = (channel.gamma, channel.epsilon);
                    assert!(
                        !verdict.is_wrong(),
                        "case {case}, {how:?} {what}, n {n}, gamma {gamma}, eps {eps}: {which} {verdict:?}"
                    );
                    counts[match verdict {
                        Verdict::Right => 0,
                        Verdict::Inexact => 1,
                        _ => 2,
                    }] += 1;
                }
                judged += 1;
            };
            if finite(&double) {
                check(channel.judged::<f64, f64>(&double), "f64");
                check(channel.judged::<f32, f32>(&double), "f64 in f32 files");
            }
            // (A lossy variance may end below 0: no right gradient.)
            if finite(&single) {
                check(channel.judged::<f32, f32>(&single), "f32");
                check(channel.judged::<f32, f64>(&single), "f32 saved as f64, x f32");
                check(channel.judged::<f64, f64>(&single), "f32 saved as f64");
            }
        }
    }
    println!("{judged} triples; right {}, inexact {}, undecided {}", counts[0], counts[1], counts[2]);
    assert!(judged > 3000 && counts[0] > counts[1]);
}

#[test]
fn right_gradients_of_siblings_and_evaluation_in_plain_f32() {
    let mut random = Random::new(612);
    let mut judged = 0;
    for case in 0..200 {
        let shape = [1 + random.below(40), 2 * (1 + random.below(4)), 2 + random.below(30)];
        let len = shape.iter().product();
        let deviation = [1.0, 1e-3, 30.0][random.below(3)];
        let mean = deviation * [0.0, 1.0, -10.0, 100.0, 1e3, 1e4][random.below(6)];
        let (x, dy) = (random.normals_f32(len, mean, deviation), random.normals_f32(len, 0.3, 1.0));
        let epsilon = [1e-5f32, 1e-3, 1e-8][case % 3];
        let groupings = [
            Grouping::Layer { axes: 1 },
            Grouping::Layer { axes: 2 },
            Grouping::Rms { axes: 2 },
            Grouping::Group { groups: 2 },
            Grouping::GroupRms { groups: 2 },
            Grouping::Instance,
        ];
        for grouping in groupings.into_iter().map(Some).chain([None]) {
            let by_channel = !matches!(grouping, Some(Grouping::Layer { .. } | Grouping::Rms { .. }));
            let count = match grouping {
                Some(Grouping::Layer { axes: 1 } | Grouping::Instance) => shape[2],
                Some(Grouping::Group { .. } | Grouping::GroupRms { .. }) => shape[1] / 2 * shape[2],
                _ => shape[1] * shape[2],
            };
            let parameters = if by_channel { shape[1] } else { count };
            let parameter = |at: usize| if by_channel { at / shape[2] % shape[1] } else { at % count };
            let gamma: Vec<f32> = (0..parameters).map(|_| 0.3 + random.uniform() as f32).collect();
            // Evaluation: near the values' own mean and variance.
            let running: Vec<[f32; 2]> = (0..parameters)
                .map(|_| [mean + deviation * random.normal(), deviation * deviation * (0.5 + random.uniform())])
                .map(|pair| pair.map(|value| value as f32))
                .collect();
            let mut dx = vec![0.0f32; len];
            let (mut dgamma, mut dbeta) = (vec![0.0f32; parameters], vec![0.0f32; parameters]);
            for first in (0..len).step_by(count) {
                let (x, dy) = (&x[first..first + count], &dy[first..first + count]);
                let own: Vec<f32> = (first..first + count).map(|at| gamma[parameter(at)]).collect();
                let gradients = match grouping {
                    Some(grouping) if !grouping.is_centred() => rows::rms_backward(x, &own, epsilon, dy),
                    Some(_) => rows::backward(x, &own, epsilon, dy),
                    None => {
                        let of = |i: usize| {
                            let [mean, variance] = running[parameter(first + i)];
                            let r = 1.0 / (variance + epsilon).sqrt();
                            [own[i] * r * dy[i], dy[i] * ((x[i] - mean) * r)]
                        };
                        let both: Vec<[f32; 2]> = (0..count).map(of).collect();
                        let [dx, dgamma] = [0, 1].map(|which| both.iter().map(|both| both[which]).collect());
                        rows::Gradients { dx, dgamma, dbeta: dy.to_vec() }
                    }
                };
                for i in 0..count {
                    let at = first + i;
                    dx[at] = gradients.dx[i];
                    dgamma[parameter(at)] += gradients.dgamma[i];
                    dbeta[parameter(at)] += gradients.dbeta[i];
                }
            }
            let [x, dy, dx] = [&x, &dy, &dx].map(|values| View::new(values, &shape, Axes::NCHW).unwrap());
            let gamma: Vec<f64> = gamma.into_iter().map(f64::from).collect();
            let of = |which: usize| running.iter().map(|pair| f64::from(pair[which])).collect::<Vec<f64>>();
            let epsilon = f64::from(epsilon);
            let problem = match grouping {
                Some(grouping) => Problem::sample_norm(grouping, &x, &dy, &gamma, epsilon),
                None => Problem::evaluation(&x, &dy, &gamma, epsilon, &of(0), &of(1)),
            };
            let problem = problem.unwrap();
            let given = problem.given().dx(&dx).unwrap().dgamma(&dgamma).unwrap().dbeta(&dbeta).unwrap();
            for (which, finding) in given.diagnose().unwrap().all() {
                let verdict = &finding.verdict;
                assert!(!verdict.is_wrong(), "case {case} {shape:?} {grouping:?} mean {mean} {which}: {finding:?}");
                judged += 1;
            }
        }
    }
    println!("{judged} gradients");
}
