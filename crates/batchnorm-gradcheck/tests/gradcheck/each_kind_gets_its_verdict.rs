//! Verdicts on single cases: what cannot be told apart, evaluation, weights, siblings, wrong
//! axes, channels that differ, half precision, and what is refused.

use crate::Random;
use crate::orders::{Order, Sizes, channel_of};
use crate::planted::{Flaw, planted};
use crate::somebody::{Case, Theirs, verdicts};
use batchnorm::{Axes, Grouping, View, Weights};
use batchnorm_gradcheck::{Diagnosis, Given, Precision, Problem, ProblemError, Verdict};
use batchnorm_reference::{compact, rows, weighted};
use half::{bf16, f16};

fn view<'a>(data: &'a [f64], shape: &[usize]) -> View<'a, f64> {
    View::new(data, shape, Axes::NCHW).unwrap()
}

fn one(problem: &Problem, judge: impl FnOnce(Given) -> Result<Diagnosis, ProblemError>) -> Diagnosis {
    judge(problem.given()).unwrap()
}

fn names(verdict: &Verdict) -> Vec<&str> {
    verdict.mistakes().into_iter().map(|mistake| mistake.name).collect()
}

#[test]
fn what_cannot_be_told_apart_is_said_to_be_so() {
    let mut random = Random::new(621);
    // Sample or population variance, of 200,000 values in f32: 2.5e-6.
    let n = 200_000;
    let (x, dy) = (random.normals_f32(n, 0.0, 1.0), random.normals_f32(n, 0.1, 1.0));
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    let (dx, dgamma, _) = planted(&wide(&x), 1.0, 1e-5, &wide(&dy), Flaw::SampleVariance);
    let dx: Vec<f32> = dx.into_iter().map(|value| value as f32).collect();
    let [x, dy, dx] = [&x, &dy, &dx].map(|values| View::new(values, &[n, 1], Axes::NCHW).unwrap());
    let problem = Problem::batch_norm(&x, &dy, &[1.0], 1e-5).unwrap();
    let found = one(&problem, |given| given.dx(&dx)?.dgamma(&[dgamma as f32])?.diagnose());
    for (which, finding) in found.all() {
        assert!(matches!(finding.verdict, Verdict::Undecided(_)), "{which}: {:?}", finding.verdict);
        assert!(names(&finding.verdict).contains(&"sample instead of population variance"), "{:?}", finding.verdict);
    }

    // eps of no account: 1e-12 beside a variance of 1, in f32, whichever was done; in f64 it is told apart.
    let (x, dy) = (random.normals(20, 0.5, 1.0), random.normals(20, 0.1, 1.0));
    for flaw in [Flaw::NoEps, Flaw::EpsOutside, Flaw::Nothing] {
        let (dx, ..) = planted(&x, 1.3, 1e-12, &dy, flaw);
        let narrow: Vec<f32> = dx.iter().map(|&value| value as f32).collect();
        let problem = Problem::batch_norm(&view(&x, &[20, 1]), &view(&dy, &[20, 1]), &[1.3], 1e-12).unwrap();
        let found = one(&problem, |given| given.dx(&View::new(&narrow, &[20, 1], Axes::NCHW).unwrap())?.diagnose());
        let verdict = found.dx.unwrap().verdict;
        assert_eq!(verdict, Verdict::Undecided(verdict.mistakes()));
        assert_eq!(names(&verdict), ["eps outside the root", "eps left out"]);
        let verdict = one(&problem, |given| given.dx(&view(&dx, &[20, 1]))?.diagnose()).dx.unwrap().verdict;
        match flaw {
            Flaw::NoEps => assert_eq!((verdict.is_wrong(), &names(&verdict)[..]), (true, &["eps left out"][..])),
            Flaw::EpsOutside => assert_eq!(names(&verdict), ["eps outside the root"]),
            _ => assert_eq!(verdict, Verdict::Right),
        }
    }

    // Two mistakes that are the same here: with two values, a factor of 2 and one of n.
    let (x, dy) = ([1.0, 2.5], [0.3, -0.8]);
    let (dx, ..) = planted(&x, 1.3, 0.5, &dy, Flaw::SumOfProducts);
    let problem = Problem::batch_norm(&view(&x, &[2, 1]), &view(&dy, &[2, 1]), &[1.3], 0.5).unwrap();
    let verdict = one(&problem, |given| given.dx(&view(&dx, &[2, 1]))?.diagnose()).dx.unwrap().verdict;
    assert!(verdict.is_wrong());
    assert!(names(&verdict).contains(&"sum instead of mean") && names(&verdict).len() > 1, "{verdict:?}");
}

#[test]
fn alike_values_may_have_either_gradient() {
    let (x, dy) = ([3.0; 5], [0.3, -1.0, 0.5, 0.1, 0.7]);
    let problem = Problem::batch_norm(&view(&x, &[5, 1]), &view(&dy, &[5, 1]), &[1.5], 1e-5).unwrap();
    let formula = compact::backward(&x, 1.5, 1e-5, &dy).dx;
    for dx in [vec![0.0; 5], formula] {
        let verdict = one(&problem, |given| given.dx(&view(&dx, &[5, 1]))?.diagnose()).dx.unwrap().verdict;
        assert!(!verdict.is_wrong(), "{verdict:?}");
    }
    let verdict = one(&problem, |given| given.dx(&view(&[500.0, 100.0, 200.0, 300.0, 400.0], &[5, 1]))?.diagnose());
    assert!(verdict.is_wrong());
    // With eps 0 the declared gradient is the only one.
    let problem = Problem::batch_norm(&view(&x, &[5, 1]), &view(&dy, &[5, 1]), &[1.5], 0.0).unwrap();
    let found = one(&problem, |given| given.dx(&view(&[0.0; 5], &[5, 1]))?.dgamma(&[0.0])?.diagnose());
    assert!(!found.is_wrong(), "{found:?}");
    assert!(one(&problem, |given| given.dx(&view(&[1.0; 5], &[5, 1]))?.diagnose()).is_wrong());
}

#[test]
fn after_evaluation_the_statistics_are_constants() {
    let mut random = Random::new(622);
    let (shape, plane, channels) = ([5, 3, 4], 4, 3);
    for _ in 0..50 {
        let (x, dy) = (random.normals(60, 1.0, 2.0), random.normals(60, 0.3, 1.0));
        let (mean, variance) = (random.normals(3, 1.0, 0.5), vec![0.7, 2.0, 5.5]);
        let gamma = [1.4, -0.6, 2.3];
        let of = |values: &[f64], c: usize| channel_of(values, channels, plane, c);
        let gradients = |training: bool, running: bool| {
            let (mut dx, mut dgamma) = (vec![0.0; 60], vec![]);
            for c in 0..channels {
                let (x, dy) = (of(&x, c), of(&dy, c));
                let by = if running {
                    (mean[c], variance[c])
                } else {
                    let batch = compact::forward(&x, 1.0, 0.0, 1e-5);
                    (batch.mean, batch.variance)
                };
                let r = 1.0 / (by.1 + 1e-5).sqrt();
                let xhat: Vec<f64> = x.iter().map(|x| (x - by.0) * r).collect();
                let n = x.len() as f64;
                let (sum, products) = (dy.iter().sum::<f64>(), dy.iter().zip(&xhat).map(|(a, b)| a * b).sum::<f64>());
                dgamma.push(products);
                for (i, (dy, xhat)) in dy.iter().zip(&xhat).enumerate() {
                    let inner = if training { dy - sum / n - xhat * products / n } else { *dy };
                    dx[(i / plane * channels + c) * plane + i % plane] = gamma[c] * r * inner;
                }
            }
            (dx, dgamma)
        };
        let problem =
            Problem::evaluation(&view(&x, &shape), &view(&dy, &shape), &gamma, 1e-5, &mean, &variance).unwrap();
        for (training, running) in [(false, true), (true, true), (true, false)] {
            let (dx, dgamma) = gradients(training, running);
            let found = one(&problem, |given| given.dx(&view(&dx, &shape))?.dgamma(&dgamma)?.diagnose());
            let [of_dx, of_dgamma] = [found.dx.unwrap().verdict, found.dgamma.unwrap().verdict];
            if training {
                assert_eq!(names(&of_dx), ["training formula used after evaluation"]);
                assert!(of_dx.is_wrong());
            } else {
                assert_eq!(of_dx, Verdict::Right);
            }
            assert_eq!(of_dgamma.is_wrong(), !running);
        }
    }
}

#[test]
fn weights_and_masks() {
    let mut random = Random::new(623);
    let mut x = random.normals(24, 1.0, 2.0);
    let dy = random.normals(24, 0.3, 1.0);
    let weights: Vec<f64> = (0..24).map(|i| [1.0, 0.0, 2.0, 0.5][i % 4]).collect();
    let shape = [24, 1];
    let of = Weights::new(&weights, &shape).unwrap();
    let right = weighted::backward(&x, &weights, 1.7, 1e-5, &dy);
    let ignored = compact::backward(&x, 1.7, 1e-5, &dy);
    let problem = Problem::weighted(&view(&x, &shape), &view(&dy, &shape), &[1.7], 1e-5, &of).unwrap();
    let found = one(&problem, |given| given.dx(&view(&right.dx, &shape))?.dgamma(&[right.dgamma])?.diagnose());
    assert!(found.all().all(|(_, finding)| finding.verdict == Verdict::Right), "{found:?}");
    let found = one(&problem, |given| given.dx(&view(&ignored.dx, &shape))?.dgamma(&[ignored.dgamma])?.diagnose());
    assert_eq!(names(&found.dx.unwrap().verdict), ["weights ignored"]);
    // What is masked may be anything.
    x[1] = f64::NAN;
    let problem = Problem::weighted(&view(&x, &shape), &view(&dy, &shape), &[1.7], 1e-5, &of).unwrap();
    let found = one(&problem, |given| given.dx(&view(&right.dx, &shape))?.diagnose());
    assert_eq!(found.dx.unwrap().verdict, Verdict::Right);
    let masked = Weights::mask(&[false; 24], &shape).unwrap();
    let error = Problem::weighted(&view(&x, &shape), &view(&dy, &shape), &[1.7], 1e-5, &masked).unwrap_err();
    assert_eq!(error, ProblemError::SingleCounting { channel: 0 });
}

#[test]
fn siblings_right_and_wrong() {
    let mut random = Random::new(624);
    let shape = [4, 6, 5];
    for grouping in [
        Grouping::Layer { axes: 1 },
        Grouping::Layer { axes: 2 },
        Grouping::Rms { axes: 2 },
        Grouping::Group { groups: 3 },
        Grouping::GroupRms { groups: 3 },
        Grouping::Instance,
    ] {
        let rms = !grouping.is_centred();
        // Rows are neighbours in all of them.
        let (count, of_parameters): (usize, usize) = match grouping {
            Grouping::Layer { axes: 1 } => (5, 5),
            Grouping::Layer { .. } | Grouping::Rms { .. } => (30, 30),
            Grouping::Group { .. } | Grouping::GroupRms { .. } => (10, 6),
            Grouping::Instance => (5, 6),
        };
        let by_channel = of_parameters == 6;
        let parameter = |at: usize| if by_channel { at / 5 % 6 } else { at % count };
        let (x, dy) = (random.normals(120, 1.0, 1.5), random.normals(120, 0.3, 1.0));
        let gamma: Vec<f64> = (0..of_parameters).map(|_| 0.4 + random.uniform()).collect();
        let (mut dx, mut dgamma, mut dbeta) = (vec![], vec![0.0; of_parameters], vec![0.0; of_parameters]);
        let (mut behind, mut without_variance, mut without_gamma) = (vec![], vec![], vec![]);
        for row in 0..120 / count {
            let at = row * count..(row + 1) * count;
            let (x, dy) = (&x[at.clone()], &dy[at.clone()]);
            let own: Vec<f64> = at.clone().map(|at| gamma[parameter(at)]).collect();
            let backward = if rms { rows::rms_backward } else { rows::backward };
            let right = backward(x, &own, 1e-5, dy);
            for (at, (g, b)) in at.zip(right.dgamma.iter().zip(&right.dbeta)) {
                dgamma[parameter(at)] += g;
                dbeta[parameter(at)] += b;
            }
            dx.extend(right.dx);
            let plain = backward(x, &vec![1.0; count], 1e-5, dy).dx;
            behind.extend(plain.iter().zip(&own).map(|(dx, gamma)| dx * gamma));
            without_gamma.extend(plain);
            let xhat =
                if rms { rows::rms_forward } else { rows::forward }(x, &vec![1.0; count], &vec![0.0; count], 1e-5);
            let r = (xhat.normalized[0] - xhat.normalized[1]) / (x[0] - x[1]);
            let g: Vec<f64> = own.iter().zip(dy).map(|(gamma, dy)| gamma * dy).collect();
            let mean = if rms { 0.0 } else { g.iter().sum::<f64>() / count as f64 };
            without_variance.extend(g.iter().map(|g| r * (g - mean)));
        }
        let problem = Problem::sample_norm(grouping, &view(&x, &shape), &view(&dy, &shape), &gamma, 1e-5).unwrap();
        let judged = |dx: &[f64]| one(&problem, |given| given.dx(&view(dx, &shape))?.diagnose()).dx.unwrap().verdict;
        let found = one(&problem, |given| given.dx(&view(&dx, &shape))?.dgamma(&dgamma)?.dbeta(&dbeta)?.diagnose());
        for (which, finding) in found.all() {
            assert_eq!(finding.verdict, Verdict::Right, "{grouping:?} {which}");
        }
        assert_eq!(names(&judged(&without_variance)), ["variance term dropped"], "{grouping:?}");
        let verdict = judged(&without_gamma);
        assert!(verdict.is_wrong() && names(&verdict).contains(&"gamma missing"), "{grouping:?} {verdict:?}");
        if grouping != Grouping::Instance {
            let verdict = judged(&behind);
            assert!(verdict.is_wrong() && names(&verdict)[0].starts_with("gamma"), "{grouping:?} {verdict:?}");
            assert!(names(&verdict).contains(&"gamma behind the means"), "{grouping:?} {verdict:?}");
        }
        let means: Vec<f64> = dgamma.iter().map(|sum| sum / (120.0 / of_parameters as f64)).collect();
        let off: Vec<f64> = dbeta.iter().map(|sum| sum + 0.01).collect();
        let found = one(&problem, |given| given.dgamma(&means)?.dbeta(&off)?.diagnose());
        assert_eq!(names(&found.dgamma.unwrap().verdict), ["mean instead of sum"], "{grouping:?}");
        assert!(matches!(found.dbeta.unwrap().verdict, Verdict::Unexplained { .. }), "{grouping:?}");
        let doubled: Vec<f64> = dx.iter().map(|dx| 2.0 * dx).collect();
        assert!(judged(&doubled).is_wrong());
    }
}

/// dx of layer norm, of instance norm and of batch norm of each position.
#[test]
fn the_wrong_axis_is_seen() {
    let mut random = Random::new(625);
    let shape = [4, 3, 6];
    let (x, dy) = (random.normals(72, 1.0, 1.5), random.normals(72, 0.3, 1.0));
    let gamma = [1.3, 0.6, -0.8];
    let problem = Problem::batch_norm(&view(&x, &shape), &view(&dy, &shape), &gamma, 1e-3).unwrap();
    let channel = |at: usize| at / 6 % 3;
    let by = |key: &dyn Fn(usize) -> usize| {
        let mut dx = vec![0.0; 72];
        for group in 0..72 {
            let numbers: Vec<usize> = (0..72).filter(|&at| key(at) == group).collect();
            if numbers.is_empty() {
                continue;
            }
            let of = |values: &[f64]| numbers.iter().map(|&at| values[at]).collect::<Vec<f64>>();
            let own: Vec<f64> = numbers.iter().map(|&at| gamma[channel(at)]).collect();
            let gradients = rows::backward(&of(&x), &own, 1e-3, &of(&dy));
            numbers.iter().zip(gradients.dx).for_each(|(&at, value)| dx[at] = value);
        }
        dx
    };
    for (name, dx) in [
        ("statistics over the samples alone", by(&|at| at % 18)),
        ("statistics over the positions alone", by(&|at| at / 6)),
        ("statistics over the channels", by(&|at| at / 18)),
        ("statistics over the channels", by(&|at| at / 18 * 6 + at % 6)),
    ] {
        let verdict = one(&problem, |given| given.dx(&view(&dx, &shape))?.diagnose()).dx.unwrap().verdict;
        assert!(verdict.is_wrong());
        assert_eq!(names(&verdict), [name]);
    }
    // The right values, reshaped where they should have been transposed.
    let right = by(&channel);
    let reshaped: Vec<f64> = (0..72).map(|at| right[at % 6 * 12 + at / 6]).collect();
    let verdict = one(&problem, |given| given.dx(&view(&reshaped, &shape))?.diagnose()).dx.unwrap().verdict;
    assert_eq!(names(&verdict), ["right values in another order"]);
    // As many samples as channels: sums over the wrong one have the right length.
    let (x, dy) = (&x[..25], &dy[..25]);
    let problem = Problem::batch_norm(&view(x, &[5, 5]), &view(dy, &[5, 5]), &[1.0; 5], 1e-3).unwrap();
    let sums: Vec<f64> = dy.chunks(5).map(|row| row.iter().sum()).collect();
    let verdict = one(&problem, |given| given.dbeta(&sums)?.diagnose()).dbeta.unwrap().verdict;
    assert_eq!(names(&verdict), ["statistics over the channels"]);
    // As many as another axis has.
    let problem = Problem::batch_norm(&view(x, &[25, 1]), &view(dy, &[25, 1]), &[1.0], 1e-3).unwrap();
    let error = problem.given().dbeta(dy).unwrap_err().to_string();
    assert!(error.contains("expected 1 values") && error.contains("as many as axis 0"), "{error}");
}

fn plain_case(random: &mut Random) -> Case<f64> {
    let sizes = Sizes { n: 6, c: 4, plane: 3 };
    let (x, dy) = (random.normals(72, 1.0, 1.5), random.normals(72, 0.3, 1.0));
    Case { sizes, order: Order::Nhwc, x, dy, gamma: vec![1.3, 0.7, -0.8, 2.0], epsilon: 1e-3 }
}

#[test]
fn channels_that_differ_are_told_apart() {
    let mut random = Random::new(626);
    let case = plain_case(&mut random);
    let flaws = [Flaw::Nothing, Flaw::NoVariancePath, Flaw::Nothing, Flaw::TimesN];
    let found = case.judged(&case.by::<f64>(|channel| flaws[channel]));
    let [of_dx, of_dgamma, of_dbeta] = verdicts(&found);
    let Verdict::ByChannel(all) = of_dx else { panic!("{of_dx:?}") };
    // What is wrong comes first.
    assert_eq!((names(&all[0].0), &all[0].1), (vec!["variance term dropped"], &vec![1]));
    assert_eq!((names(&all[1].0), &all[1].1), (vec!["factor n"], &vec![3]));
    assert_eq!(all[2], (Verdict::Right, vec![0, 2]));
    assert_eq!((of_dgamma, of_dbeta), (&Verdict::Right, &Verdict::Right));
    assert_eq!(found.dx.as_ref().unwrap().channel, 3);
}

#[test]
fn what_no_mistake_explains_is_wrong_all_the_same() {
    let mut random = Random::new(627);
    let case = plain_case(&mut random);
    let right = case.by::<f64>(|_| Flaw::Nothing);
    // One value off, and where.
    let mut dx = right.dx.clone();
    dx[40] += 1e-6;
    let found = case.judged(&Theirs { dx, dgamma: right.dgamma.clone(), dbeta: right.dbeta.clone() });
    let finding = found.dx.unwrap();
    let Verdict::ByChannel(all) = &finding.verdict else { panic!("{finding:?}") };
    assert_eq!(all.iter().map(|(_, channels)| channels.len()).sum::<usize>(), 4);
    // NCHW (6, 4, 3): 40 is sample 3, channel 1, position 1; as the view names its axes, (sample, position, channel).
    assert_eq!((finding.channel, &finding.index[..]), (1, &[3, 1, 1][..]));
    assert!(finding.got != finding.expected && finding.error > finding.allowed);
    // A term of no known size: it is said how large it is.
    let of = |c: usize| [&case.x, &case.dy].map(|values| channel_of(values, 4, 3, c));
    let mut dx = right.dx.clone();
    for c in 0..4 {
        let [x, dy] = of(c);
        let pass = compact::forward(&x, 1.0, 0.0, 1e-3);
        let (r, n) = (pass.inverse_deviation, 18.0);
        let (sum, products) =
            (dy.iter().sum::<f64>(), dy.iter().zip(&pass.normalized).map(|(a, b)| a * b).sum::<f64>());
        for i in 0..18 {
            let inner = dy[i] - sum / n - 0.73 * pass.normalized[i] * products / n;
            dx[(i / 3 * 4 + c) * 3 + i % 3] = case.gamma[c] * r * inner;
        }
    }
    let found = case.judged(&Theirs { dx, dgamma: right.dgamma, dbeta: right.dbeta });
    let Verdict::Unexplained { terms: Some(terms), .. } = found.dx.unwrap().verdict else { panic!() };
    assert!((terms[0] - 1.0).abs() < 1e-12 && (terms[1] - 1.0).abs() < 1e-12 && (terms[2] - 0.73).abs() < 1e-12);
}

#[test]
fn precision_is_that_of_the_numbers() {
    let mut random = Random::new(628);
    let case = plain_case(&mut random);
    let right = case.by::<f64>(|_| Flaw::Nothing);
    let found = case.judged(&right);
    assert_eq!(found.dx.unwrap().precision, Precision::Double);
    let single = |values: &[f64]| values.iter().map(|&value| f64::from(value as f32)).collect::<Vec<f64>>();
    let saved = Theirs { dx: single(&right.dx), dgamma: single(&right.dgamma), dbeta: single(&right.dbeta) };
    let found = case.judged(&saved);
    assert!(!found.is_wrong());
    assert_eq!(found.dx.unwrap().precision, Precision::Single);
    // The same short number everywhere says nothing about a precision.
    let found = case.judged(&Theirs { dx: vec![3.0; 72], dgamma: right.dgamma.clone(), dbeta: right.dbeta.clone() });
    let finding = found.dx.unwrap();
    assert!(finding.verdict.is_wrong() && finding.precision == Precision::Single, "{finding:?}");
    let narrow = |values: &[f64]| values.iter().map(|&value| f16::from_f64(value)).collect::<Vec<f16>>();
    let halves = Theirs { dx: narrow(&right.dx), dgamma: narrow(&right.dgamma), dbeta: narrow(&right.dbeta) };
    let found = case.judged(&halves);
    assert!(!found.is_wrong());
    assert_eq!(found.dx.unwrap().precision, Precision::Half);
    let wrong = case.by::<f64>(|_| Flaw::Detached);
    let found = case.judged(&Theirs { dx: narrow(&wrong.dx), ..halves });
    assert_eq!(names(&found.dx.unwrap().verdict), ["statistics treated as constants"]);
    // bf16, saved as f32.
    let narrow = |values: &[f64]| values.iter().map(|&value| bf16::from_f64(value).to_f32()).collect::<Vec<f32>>();
    let saved = Theirs { dx: narrow(&right.dx), dgamma: narrow(&right.dgamma), dbeta: narrow(&right.dbeta) };
    let found = case.judged(&saved);
    assert!(!found.is_wrong());
    assert_eq!(found.dx.unwrap().precision, Precision::Bfloat);
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let (x, dy) = ([1.0, 2.0, 6.0, 4.0], [0.3, -1.0, 0.5, 0.1]);
    let shape = [4, 1];
    let refused = |problem: Result<Problem, ProblemError>, parts: &[&str]| {
        let error = problem.unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let of = |x: &[f64], dy: &[f64], gamma: &[f64], epsilon: f64| {
        Problem::batch_norm(&view(x, &shape), &view(dy, &shape), gamma, epsilon)
    };
    refused(of(&x, &dy, &[1.0, 2.0], 1e-5), &["gamma", "expected 1 values", "got 2"]);
    refused(of(&x, &dy, &[f64::NAN], 1e-5), &["gamma", "finite"]);
    refused(of(&x, &dy, &[1.0], -1.0), &["epsilon", ">= 0"]);
    refused(of(&[1.0, f64::NAN, 6.0, 4.0], &dy, &[1.0], 1e-5), &["x:", "finite", "[1, 0]"]);
    refused(of(&x, &[0.3, -1.0, 0.5, f64::INFINITY], &[1.0], 1e-5), &["dy:", "finite", "[3, 0]"]);
    refused(
        Problem::batch_norm(&view(&x, &[4, 1]), &view(&dy[..2], &[2, 1]), &[1.0], 1e-5),
        &["dy", "expected", "[4, 1]", "[2, 1]"],
    );
    refused(
        Problem::batch_norm(&view(&x, &[1, 4]), &view(&dy, &[1, 4]), &[1.0; 4], 1e-5),
        &["at least 2 values", "got 1"],
    );
    refused(
        Problem::batch_norm(&view(&[], &[0, 4]), &view(&[], &[0, 4]), &[1.0; 4], 1e-5),
        &["at least 2 values", "got 0"],
    );
    refused(
        Problem::evaluation(&view(&x, &shape), &view(&dy, &shape), &[1.0], 1e-5, &[0.0], &[-1.0]),
        &["variance", ">= 0"],
    );
    refused(Problem::evaluation(&view(&x, &shape), &view(&dy, &shape), &[1.0], 1e-5, &[0.0, 1.0], &[1.0]), &["mean"]);
    let grouping = Grouping::Group { groups: 3 };
    refused(Problem::sample_norm(grouping, &view(&x, &[1, 4]), &view(&dy, &[1, 4]), &[1.0; 4], 1e-5), &["3"]);
    let large = vec![0.5f32; 5000 * 5000];
    let large = View::new(&large, &[5000, 5000], Axes::NCHW).unwrap();
    refused(Problem::batch_norm(&large, &large, &vec![1.0; 5000], 1e-5), &["at most 16777216", "25000000"]);

    let problem = of(&x, &dy, &[1.0], 1e-5).unwrap();
    assert_eq!(problem.given().diagnose().unwrap_err(), ProblemError::NothingGiven);
    assert!(problem.given().dx(&view(&x, &[2, 2])).is_err());
    assert!(problem.given().dgamma(&[1.0, 2.0]).is_err());
    let found = one(&problem, |given| given.dx(&view(&[1.0, f64::NAN, 2.0, f64::INFINITY], &shape))?.diagnose());
    let finding = found.dx.as_ref().unwrap();
    assert_eq!((&finding.verdict, &finding.index[..]), (&Verdict::NotFinite(2), &[1, 0][..]));
    assert!(found.is_wrong());
    let huge = of(&[1e200, -1e200, 1e199, 3e200], &dy, &[1.0], 1e-5).unwrap();
    let error = huge.given().dgamma(&[1.0]).unwrap().diagnose().unwrap_err().to_string();
    assert!(error.contains("channel 0"), "{error}");
}

#[test]
fn arrays_of_several_channel_axes_are_refused() {
    let values: Vec<f64> = (0..24).map(f64::from).collect();
    let [one, two] =
        [Axes::NCHW, Axes::Channels(&[1, 2])].map(|axes| View::new(&values, &[2, 3, 4], axes).expect("an array"));
    let of = |argument| ProblemError::ChannelAxes { argument, axes: vec![1, 2], shape: vec![2, 3, 4] };
    assert_eq!(Problem::batch_norm(&two, &two, &[1.0; 12], 1e-5).unwrap_err(), of("x"));
    assert_eq!(Problem::batch_norm(&one, &two, &[1.0; 3], 1e-5).unwrap_err(), of("dy"));
    let grouping = Grouping::Group { groups: 3 };
    assert_eq!(Problem::sample_norm(grouping, &two, &two, &[1.0; 12], 1e-5).unwrap_err(), of("x"));
    let problem = Problem::batch_norm(&one, &one, &[1.0; 3], 1e-5).expect("a problem");
    let error = problem.given().dx(&two).map(|_| ()).unwrap_err();
    assert_eq!(error, of("dx"));
    assert_eq!(
        error.to_string(),
        "dx: expected one channel axis, along which mistakes are looked for, got the axes [1, 2] (shape [2, 3, 4]); copy the channels \
         to one axis"
    );
}
