//! Several participants with a part of the batch each give what one process gives with all of it.

use crate::support::Random;
use batchnorm::{
    Axes, BatchMoments, Collective, CollectiveError, Config, Moments, ParameterGradients, Parameters, Team, View,
    ViewMut,
};
use std::thread;
use std::time::Duration;

const CHANNELS: usize = 4;
const PLANE: usize = 3;
/// Nobody takes a tenth of that.
const LONG: Duration = Duration::from_secs(120);
const SAMPLE: usize = CHANNELS * PLANE;

/// Of each participant what `run` gives.
fn together<R: Send>(team: Vec<Team>, run: impl Fn(usize, Team) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            team.into_iter().enumerate().map(|(number, one)| scope.spawn(move || run(number, one))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn view(data: &[f64]) -> View<'_, f64> {
    View::new(data, &[data.len() / SAMPLE, CHANNELS, PLANE], Axes::NCHW).expect("an array of the shape")
}

fn view_mut(data: &mut [f64]) -> ViewMut<'_, f64> {
    let shape = [data.len() / SAMPLE, CHANNELS, PLANE];
    ViewMut::new(data, &shape, Axes::NCHW).expect("an array of the shape")
}

type Step = (Vec<f64>, Vec<f64>, ParameterGradients, BatchMoments);

fn parameters() -> Parameters<'static, f64> {
    Parameters { gamma: Some(&[1.0, -2.0, 0.5, 1.5]), beta: Some(&[0.0, 0.1, -0.3, 2.0]) }
}

fn alone(x: &[f64], dy: &[f64]) -> Step {
    let rule = Config::pytorch().normalizer().expect("a rule");
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let (saved, batch) = rule.train(&view(x), parameters(), None, &mut view_mut(&mut y)).expect("a right call");
    let gradients = saved.backward(&view(x), &view(dy), &mut view_mut(&mut dx)).expect("a right call");
    (y, dx, gradients, batch)
}

fn as_one(team: &Team, x: &[f64], dy: &[f64]) -> Step {
    let rule = Config::pytorch().normalizer().expect("a rule");
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let whole = rule.moments(&view(x)).across(team, "norm").expect("all come");
    let saved = rule.train_part(&view(x), parameters(), &whole, &mut view_mut(&mut y)).expect("a right call");
    let sums = saved.parameter_gradients(&view(x), &view(dy)).expect("a right call");
    let sums = sums.across(team, "norm").expect("all come");
    saved.backward_part(&view(x), &view(dy), &sums, &mut view_mut(&mut dx)).expect("a right call");
    (y, dx, sums, whole)
}

fn near(got: &[f64], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{what}: {got:e} for {expected:e}");
    }
}

/// pytorch 44957, 22192, 36530 and flax 2417: hangs, refused processors, unequal counts weighed alike.
#[test]
fn one_to_eight_participants_are_one_process() {
    let mut random = Random::new(1400);
    for participants in 1..=8 {
        for round in 0..6 {
            // Parts of all sizes, some of none.
            let sizes: Vec<usize> = (0..participants).map(|_| random.below(4) * random.below(6)).collect();
            let samples: usize = sizes.iter().sum::<usize>().max(1);
            let sizes = if sizes.iter().sum::<usize>() == 0 { [&[1], &sizes[1..]].concat() } else { sizes };
            let (x, dy) = (random.normals(samples * SAMPLE, 50.0, 2.0), random.normals(samples * SAMPLE, 0.2, 1.0));
            let starts: Vec<usize> = (0..participants).map(|part| sizes[..part].iter().sum()).collect();
            let cut = |data: &[f64], part: usize| data[starts[part] * SAMPLE..][..sizes[part] * SAMPLE].to_vec();
            let expected = alone(&x, &dy);
            let got =
                together(Team::of(participants, LONG), |part, team| as_one(&team, &cut(&x, part), &cut(&dy, part)));
            let what = format!("{participants} participants, round {round}, {sizes:?}");
            near(&got.iter().flat_map(|step| step.0.clone()).collect::<Vec<_>>(), &expected.0, &what);
            near(&got.iter().flat_map(|step| step.1.clone()).collect::<Vec<_>>(), &expected.1, &what);
            near(&got[0].2.dgamma, &expected.2.dgamma, &what);
            near(&got[0].2.dbeta, &expected.2.dbeta, &what);
            for step in &got {
                assert!(step.2 == got[0].2 && step.3 == got[0].3, "{what}: all go on with the same bits");
            }
            assert_eq!(got[0].3.channels()[0].count(), (samples * PLANE) as u64);
        }
    }
}

fn numbers(layer: &str, count: usize, team: &Team) -> Result<Vec<Vec<f64>>, CollectiveError> {
    team.gather(layer, &vec![1.0; count])
}

#[test]
fn a_skipped_layer_is_an_error_that_names_it() {
    // Participant 1 goes on to the next layer.
    let got = together(Team::of(3, LONG), |number, team| {
        numbers("stem", 2, &team)?;
        if number != 1 {
            numbers("block1.norm", 2, &team)?;
        }
        numbers("block2.norm", 2, &team)
    });
    for error in got {
        let error = error.expect_err("not at the same layer");
        assert!(matches!(error, CollectiveError::OtherLayer { .. }), "{error}");
        assert!(error.to_string().contains("block1.norm") && error.to_string().contains("block2.norm"), "{error}");
    }
    // Participant 2 skips the last one and ends.
    let got = together(Team::of(3, LONG), |number, team| {
        numbers("stem", 2, &team)?;
        if number == 2 { Ok(Vec::new()) } else { numbers("head", 2, &team) }
    });
    assert!(got[2].is_ok());
    for error in &got[..2] {
        assert_eq!(*error, Err(CollectiveError::Left { layer: "head".into(), participant: 2 }));
    }
    // Or panics.
    let mut team = Team::of(2, LONG);
    let (second, first) = (team.pop().expect("two"), team.pop().expect("two"));
    let failing = thread::spawn(move || {
        let _second = second;
        panic!("out of memory, say");
    });
    assert!(failing.join().is_err());
    assert_eq!(numbers("stem", 1, &first), Err(CollectiveError::Left { layer: "stem".into(), participant: 1 }));
}

#[test]
fn another_size_is_an_error_that_names_the_layer_for_all_and_for_good() {
    let got = together(Team::of(4, LONG), |number, team| {
        let first = numbers("norm", if number == 3 { 6 } else { 4 }, &team);
        (first, numbers("norm2", 1, &team))
    });
    for (first, second) in got {
        let error = first.expect_err("of another size");
        assert!(matches!(&error, CollectiveError::OtherSize { layer, .. } if layer == "norm"), "{error}");
        assert_eq!(second, Err(error));
    }
}

#[test]
fn who_does_not_come_is_named_after_the_time_that_was_given() {
    let mut team = Team::of(3, Duration::from_millis(50));
    let last = team.pop().expect("three");
    let got = together(team, |_, one| numbers("norm", 1, &one));
    for error in got {
        let error = error.expect_err("the third one does not come");
        assert!(matches!(&error, CollectiveError::TimedOut { missing, .. } if missing.contains(&2)), "{error}");
    }
    let error = numbers("norm", 1, &last).expect_err("for good");
    assert!(matches!(&error, CollectiveError::TimedOut { missing, .. } if missing.contains(&2)), "{error}");
}

/// Threads that only borrow their participant, so that nothing tells when one of them ends.
#[test]
fn a_participant_that_ends_without_leaving_is_told_by_the_time() {
    let team = Team::of(2, Duration::from_millis(50));
    thread::scope(|scope| {
        let one = scope.spawn(|| numbers("norm", 1, &team[0]));
        assert!(matches!(one.join().expect("no panic"), Err(CollectiveError::TimedOut { .. })));
    });
}

#[test]
fn one_participant_in_two_threads_is_an_error() {
    let team = Team::of(2, LONG);
    let got = thread::scope(|scope| {
        let two = [scope.spawn(|| numbers("norm", 1, &team[0])), scope.spawn(|| numbers("norm", 1, &team[0]))];
        two.map(|thread| thread.join().expect("no panic"))
    });
    assert!(got.iter().all(|got| matches!(got, Err(CollectiveError::Twice { participant: 0, .. }))), "{got:?}");
}

/// A collective that gives back less than it was given.
struct Lossy(usize);

impl Collective for Lossy {
    fn gather(&self, _: &str, own: &[f64]) -> Result<Vec<Vec<f64>>, CollectiveError> {
        Ok(vec![own[1..].to_vec(); self.0])
    }
}

#[test]
fn what_comes_back_is_checked() {
    let part = BatchMoments::from(vec![Moments::of(&[1.0, 2.0])]);
    assert!(matches!(part.across(&Lossy(2), "norm"), Err(CollectiveError::OtherSize { expected: 5, got: 4, .. })));
    assert!(matches!(part.across(&Lossy(0), "norm"), Err(CollectiveError::Transport { .. })));
}

#[test]
fn exchanges_follow_each_other_without_mixing() {
    let got = together(Team::of(5, LONG), |number, team| {
        let mut random = Random::new(1401 + number as u64);
        (0..400).all(|round| {
            if random.below(5) == 0 {
                thread::yield_now();
            }
            let all = team.gather("norm", &[number as f64, f64::from(round)]).expect("all come");
            all.iter().enumerate().all(|(other, values)| *values == [other as f64, f64::from(round)])
        })
    });
    assert!(got.into_iter().all(|right| right));
}

#[test]
fn moments_cross_with_all_their_digits() {
    let part = BatchMoments::from(vec![Moments::of(&[1e16, 1e16 + 2.0, 1e16 + 4.0, 1e16 + 4.0])]);
    let alone = part.across(&Team::of(1, LONG)[0], "norm").expect("alone");
    assert_eq!(alone, part);
}
