//! Mistakes planted by other code are found, by name.

use crate::Random;
use crate::planted::{FLAWS, Flaw};
use crate::somebody::{case, verdicts};
use batchnorm::Element;
use batchnorm_gradcheck::Verdict;
use batchnorm_reference::Real;

/// The largest difference of two of somebody's gradients, as a part of the sizes of each one's terms.
fn difference<T: Element>(one: &[T], other: &[T], size: impl Fn(usize) -> f64) -> f64 {
    let pairs = one.iter().zip(other).map(|(one, other)| (one.to_f64() - other.to_f64()).abs()).enumerate();
    pairs.map(|(at, error)| error / size(at)).fold(0.0, f64::max)
}

/// Plants every flaw on 100 inputs on which it makes a difference of `visible`. It must be named on each, alone on 95 of
/// 100; what it leaves right must not be called wrong.
fn plant<T, R>(epsilon: f64, visible: f64, seed: u64)
where
    T: Element + Real,
    R: Real + Into<f64>,
{
    let mut random = Random::new(seed);
    for &(flaw, name, seen) in FLAWS {
        let (mut alone, mut among, mut drawn) = (0, 0, 0);
        while alone + among < 100 * seen.iter().filter(|&&seen| seen).count() {
            let case = case::<T>(drawn, epsilon, &mut random);
            drawn += 1;
            let (theirs, right) = (case.by::<R>(|_| flaw), case.by::<f64>(|_| Flaw::Nothing));
            let largest = right.dx.iter().fold(0.0f64, |most, dx| most.max(dx.to_f64().abs()));
            // (xhat is about 1.)
            let terms = |channel: usize| case.numbers(channel).iter().map(|&i| case.dy[i].to_f64().abs()).sum::<f64>();
            let differences = [
                difference(&theirs.dx, &right.dx, |_| largest),
                difference(&theirs.dgamma, &right.dgamma, terms),
                difference(&theirs.dbeta, &right.dbeta, terms),
            ];
            if differences.iter().zip(seen).any(|(&difference, seen)| seen && difference < visible) {
                continue;
            }
            for (verdict, seen) in verdicts(&case.judged(&theirs)).into_iter().zip(seen) {
                let what = || format!("{flaw:?} number {drawn}: {verdict:?}");
                if !seen {
                    assert!(!verdict.is_wrong(), "{}", what());
                    continue;
                }
                let Verdict::Wrong(mistakes) = verdict else { panic!("{}", what()) };
                assert!(mistakes.iter().any(|mistake| mistake.name == name), "{}", what());
                if mistakes.len() == 1 { alone += 1 } else { among += 1 }
            }
        }
        println!("{flaw:?}: alone {alone}, among others {among}; {drawn} inputs drawn");
        assert!(among * 19 <= alone && drawn <= 150, "{flaw:?}: alone {alone}, among others {among}, {drawn} drawn");
    }
}

#[test]
fn planted_mistakes_are_named_in_f64() {
    plant::<f64, f64>(1e-3, 1e-8, 601);
}

#[test]
fn planted_mistakes_are_named_in_f32_files() {
    plant::<f32, f64>(1e-2, 3e-4, 602);
}

#[test]
fn planted_mistakes_are_named_in_f32_arithmetic() {
    plant::<f32, f32>(1e-2, 3e-4, 603);
}
