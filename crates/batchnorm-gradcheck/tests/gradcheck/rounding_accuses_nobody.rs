//! What `gradcheck` says where much is rounding, where numbers are short, and where a formula has no value.

use crate::Random;
use batchnorm::{Axes, Element, View};
use batchnorm_gradcheck::{Precision, Problem, Verdict};

/// x and dy of one channel or more, channels last.
struct Case<T> {
    shape: [usize; 2],
    x: Vec<T>,
    dy: Vec<T>,
    epsilon: f64,
}

/// The three terms of the right dx in f64, channel by channel: r dy, r mean(dy), r xhat mean(dy xhat); and dgamma.
struct Terms {
    own: Vec<f64>,
    mean: Vec<f64>,
    slope: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

impl<T: Element> Case<T> {
    fn terms(&self) -> Terms {
        let [samples, channels] = self.shape;
        let mut terms =
            Terms { own: vec![0.0; samples * channels], mean: vec![], slope: vec![], dgamma: vec![], dbeta: vec![] };
        (terms.mean, terms.slope) = (terms.own.clone(), terms.own.clone());
        for channel in 0..channels {
            let places = || (channel..samples * channels).step_by(channels);
            let [x, dy] = [&self.x, &self.dy].map(|all| places().map(|at| all[at].to_f64()).collect::<Vec<f64>>());
            let n = samples as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            let r = 1.0 / (variance + self.epsilon).sqrt();
            let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * r).collect();
            let [level, slope] = [dy.iter().sum::<f64>(), dy.iter().zip(&xhat).map(|(dy, xhat)| dy * xhat).sum()];
            for ((at, dy), xhat) in places().zip(&dy).zip(&xhat) {
                terms.own[at] = r * dy;
                terms.mean[at] = r * level / n;
                terms.slope[at] = r * xhat * slope / n;
            }
            terms.dgamma.push(slope);
            terms.dbeta.push(level);
        }
        terms
    }

    fn problem(&self) -> Problem {
        let [x, dy] = [&self.x, &self.dy].map(|values| View::new(values, &self.shape, Axes::NCHW).unwrap());
        Problem::batch_norm(&x, &dy, &vec![1.0; self.shape[1]], self.epsilon).unwrap()
    }

    fn dx<U: Element>(&self, dx: &[f64]) -> (Verdict, Precision) {
        let dx: Vec<U> = dx.iter().map(|&dx| U::from_f64(dx)).collect();
        let view = View::new(&dx, &self.shape, Axes::NCHW).unwrap();
        let finding = self.problem().given().dx(&view).unwrap().diagnose().unwrap().dx.unwrap();
        (finding.verdict, finding.precision)
    }
}

impl Terms {
    fn right(&self) -> Vec<f64> {
        self.own.iter().zip(&self.mean).zip(&self.slope).map(|((own, mean), slope)| own - mean - slope).collect()
    }

    fn without_slope(&self) -> Vec<f64> {
        self.own.iter().zip(&self.mean).map(|(own, mean)| own - mean).collect()
    }
}

fn only(verdict: &Verdict) -> &str {
    match verdict.mistakes()[..] {
        [mistake] if verdict.is_wrong() => mistake.name,
        _ => panic!("{verdict:?}"),
    }
}

/// f32 values far from 0, so many that plain sums lose the gradient itself.
fn far(random: &mut Random) -> Case<f32> {
    let samples = 10_000;
    let (x, noise) = (random.normals_f32(samples, 1000.0, 1.0), random.normals_f32(samples, 0.3, 1.0));
    let dy = x.iter().zip(noise).map(|(x, noise)| 0.5 * (x - 1000.0) + noise).collect();
    Case { shape: [samples, 1], x, dy, epsilon: 1e-5 }
}

#[test]
fn noise_is_not_called_right_and_mistakes_are_named_where_plain_sums_may_lose_all() {
    let mut random = Random::new(621);
    let case = far(&mut random);
    let terms = case.terms();
    for _ in 0..4 {
        let noise = random.normals(10_000, 0.0, 1.0);
        assert_eq!(case.dx::<f32>(&noise).0, Verdict::Hidden);
    }
    assert!(!case.dx::<f32>(&terms.right()).0.is_wrong());
    assert_eq!(only(&case.dx::<f32>(&terms.own).0), "statistics treated as constants");
    assert_eq!(only(&case.dx::<f32>(&terms.without_slope()).0), "variance term dropped");
    // A right gradient by plain sums in f32, whose errors are seen: the formula, inexact.
    let (x, dy) = (&case.x, &case.dy);
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let r = 1.0 / (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n + 1e-5).sqrt();
    let (level, slope) =
        (dy.iter().sum::<f32>() / n, dy.iter().zip(x).map(|(dy, x)| dy * (x - mean) * r).sum::<f32>() / n);
    let plain: Vec<f64> =
        dy.iter().zip(x).map(|(dy, x)| f64::from(r * (dy - level - (x - mean) * r * slope))).collect();
    let verdict = case.dx::<f32>(&plain).0;
    assert!(matches!(verdict, Verdict::Right | Verdict::Inexact | Verdict::Undecided(_)), "{verdict:?}");
}

#[test]
fn zeros_are_no_gradient() {
    let mut random = Random::new(622);
    for samples in [64, 1000, 100_000] {
        let (x, dy) = (random.normals_f32(samples, 0.0, 1.0), random.normals_f32(samples, 0.0, 1.0));
        let case = Case { shape: [samples, 1], x, dy, epsilon: 1e-5 };
        let (verdict, _) = case.dx::<f32>(&vec![0.0; samples]);
        assert_eq!(only(&verdict), "no gradient", "{samples}");
    }
}

#[test]
fn short_numbers_are_no_halves() {
    let mut random = Random::new(623);
    for most in [2, 20] {
        for samples in [64, 128, 512] {
            let len = samples * 3;
            // One-hot or counted upstream gradients: integers; and somebody who gives dy back.
            let dy: Vec<f64> = (0..len).map(|_| random.below(2 * most + 1) as f64 - most as f64).collect();
            let case = Case { shape: [samples, 3], x: random.normals(len, 0.0, 1.0), dy, epsilon: 1e-5 };
            let terms = case.terms();
            let n = samples as f64;
            let means = |sums: &[f64]| sums.iter().map(|sum| sum / n).collect::<Vec<f64>>();
            let (dgamma, dbeta) = (means(&terms.dgamma), means(&terms.dbeta));
            let dx = View::new(&case.dy, &case.shape, Axes::NCHW).unwrap();
            let problem = case.problem();
            let given = problem.given().dx(&dx).unwrap().dgamma(&dgamma).unwrap().dbeta(&dbeta).unwrap();
            let found = given.diagnose().unwrap();
            assert!(found.dx.as_ref().unwrap().precision >= Precision::Single, "{found:?}");
            assert!(found.dx.unwrap().verdict.is_wrong(), "{most} {samples}");
            for finding in [found.dgamma.unwrap(), found.dbeta.unwrap()] {
                assert_eq!(only(&finding.verdict), "mean instead of sum", "{most} {samples}");
            }
        }
    }
}

#[test]
fn halves_are_known_whatever_their_scale() {
    use half::f16;
    let mut random = Random::new(624);
    let len = 64 * 3;
    let (x, dy) = (random.normals_f32(len, 0.0, 1.0), random.normals_f32(len, 0.0, 1.0));
    let dy: Vec<f32> = dy.iter().map(|&dy| f16::from_f32(dy).to_f32()).collect();
    // A scaled loss, undone in f32: all is exact but dx.
    for power in [0, -8, -16, 8] {
        let scale = 2f32.powi(power);
        let case = Case { shape: [64, 3], x: x.clone(), dy: dy.clone(), epsilon: 1e-5 };
        let dx: Vec<f64> =
            case.terms().right().iter().map(|&dx| f16::from_f64(dx).to_f64() * f64::from(scale)).collect();
        let case = Case { dy: dy.iter().map(|dy| dy * scale).collect(), ..case };
        let (verdict, precision) = case.dx::<f32>(&dx);
        assert!(!verdict.is_wrong() && precision == Precision::Half, "{power}: {verdict:?} {precision:?}");
        let terms = case.terms();
        let wrong = |dx: f64| (f16::from_f64(dx / f64::from(scale)).to_f64()) * f64::from(scale);
        let wrong: Vec<f64> = terms.own.iter().map(|&dx| wrong(-dx)).collect();
        assert!(case.dx::<f32>(&wrong).0.is_wrong(), "{power}");
    }
    // dgamma in f16, of few channels, kept in f32.
    let case = Case { shape: [64, 3], x, dy, epsilon: 1e-5 };
    let dgamma: Vec<f32> = case.terms().dgamma.iter().map(|&sum| f16::from_f64(sum).to_f32()).collect();
    let problem = case.problem();
    let finding = problem.given().dgamma(&dgamma).unwrap().diagnose().unwrap().dgamma.unwrap();
    assert!(!finding.verdict.is_wrong(), "{finding:?}");
}

#[test]
fn a_channel_whose_formula_has_no_value_accuses_nobody() {
    let mut random = Random::new(625);
    let mut case =
        Case { shape: [16, 2], x: random.normals(32, 0.0, 1.0), dy: random.normals(32, 0.0, 1.0), epsilon: 0.0 };
    // 0.1 sixteen times has no sum that gives it back, so that plain arithmetic finds a deviation there.
    case.x.iter_mut().skip(1).step_by(2).for_each(|x| *x = 0.1);
    let terms = case.terms();
    let dx = terms.right();
    let view = View::new(&dx, &case.shape, Axes::NCHW).unwrap();
    let problem = case.problem();
    let given = problem.given().dx(&view).unwrap().dgamma(&terms.dgamma).unwrap().dbeta(&terms.dbeta).unwrap();
    let found = given.diagnose().unwrap();
    assert!(!found.is_wrong(), "{found:?}");
    // The other channel is judged all the same.
    let dgamma = [2.0 * terms.dgamma[0], 0.0];
    assert!(problem.given().dgamma(&dgamma).unwrap().diagnose().unwrap().is_wrong());
}

#[test]
fn parameters_in_another_order_are_said_to_be_so() {
    let mut random = Random::new(626);
    let channels = 64;
    let len = 32 * channels;
    let case = Case {
        shape: [32, channels],
        x: random.normals(len, 0.5, 2.0),
        dy: random.normals(len, 0.1, 1.0),
        epsilon: 1e-5,
    };
    let terms = case.terms();
    let rolled = |sums: &[f64]| [&sums[1..], &sums[..1]].concat();
    let problem = case.problem();
    let given = problem.given().dgamma(&rolled(&terms.dgamma)).unwrap().dbeta(&rolled(&terms.dbeta)).unwrap();
    let found = given.diagnose().unwrap();
    for finding in [found.dgamma.unwrap(), found.dbeta.unwrap()] {
        assert_eq!(only(&finding.verdict), "right values in another order");
    }
    // Noise has no name in some channels by chance.
    let noise = random.normals(4096, 0.0, 20.0);
    let len = 8 * 4096;
    let many =
        Case { shape: [8, 4096], x: random.normals(len, 0.0, 1.0), dy: random.normals(len, 0.0, 1.0), epsilon: 1e-5 };
    let problem = many.problem();
    let verdict = problem.given().dgamma(&noise).unwrap().diagnose().unwrap().dgamma.unwrap().verdict;
    assert!(matches!(verdict, Verdict::Unexplained { .. }), "{:?}", verdict.mistakes());
}

#[test]
fn the_formula_of_evaluation_is_known_by_whatever_statistics() {
    let mut random = Random::new(627);
    let len = 32 * 3;
    let case =
        Case { shape: [32, 3], x: random.normals(len, 0.5, 2.0), dy: random.normals(len, 0.1, 1.0), epsilon: 1e-5 };
    let terms = case.terms();
    let by_running: Vec<f64> = terms.own.iter().enumerate().map(|(at, own)| own * [0.7, 1.3, 2.1][at % 3]).collect();
    assert_eq!(only(&case.dx::<f64>(&by_running).0), "statistics treated as constants");
}
