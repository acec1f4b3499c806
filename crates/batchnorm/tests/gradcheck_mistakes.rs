//! Mistakes planted by other code are found, and right gradients are never called wrong.

mod support;

use batchnorm::Element;
use batchnorm::gradcheck::{Diagnosis, Problem, Verdict};
use support::Random;
use support::planted::{FLAWS, Flaw, planted};
use support::run::{Order, Sizes};

/// An array in NCHW order, its gradients by somebody, all in one number type.
struct Case<T> {
    sizes: Sizes,
    order: Order,
    x: Vec<T>,
    dy: Vec<T>,
    gamma: Vec<f64>,
    epsilon: f64,
}

/// What somebody's code gave.
struct Theirs<T> {
    dx: Vec<T>,
    dgamma: Vec<T>,
    dbeta: Vec<T>,
}

impl<T: Element + batchnorm::reference::Real> Case<T> {
    /// Of a channel: the numbers of its values.
    fn numbers(&self, channel: usize) -> Vec<usize> {
        let Sizes { n, c, plane } = self.sizes;
        (0..n * plane).map(|i| (i / plane * c + channel) * plane + i % plane).collect()
    }

    /// By the planted code, in the arithmetic of R, the results kept as T.
    fn by<R: batchnorm::reference::Real + Into<f64>>(&self, flaw: impl Fn(usize) -> Flaw) -> Theirs<T> {
        let blank = || vec![<T as batchnorm::reference::Real>::constant(0.0); self.x.len()];
        let mut theirs = Theirs { dx: blank(), dgamma: vec![], dbeta: vec![] };
        for channel in 0..self.sizes.c {
            let numbers = self.numbers(channel);
            let of = |all: &[T]| numbers.iter().map(|&i| R::constant(all[i].to_f64())).collect::<Vec<R>>();
            let gamma = R::constant(self.gamma[channel]);
            let (dx, dgamma, dbeta) =
                planted(&of(&self.x), gamma, R::constant(self.epsilon), &of(&self.dy), flaw(channel));
            for (&i, value) in numbers.iter().zip(dx) {
                theirs.dx[i] = T::from_f64(value.into());
            }
            theirs.dgamma.push(T::from_f64(dgamma.into()));
            theirs.dbeta.push(T::from_f64(dbeta.into()));
        }
        theirs
    }

    fn judged<G: Element>(&self, theirs: &Theirs<G>) -> Diagnosis {
        let arranged = [&self.x, &self.dy].map(|values| self.order.arranged(values, self.sizes));
        let dx = self.order.arranged(&theirs.dx, self.sizes);
        let view = |data| self.order.view(data, self.sizes);
        let problem = Problem::batch_norm(&view(&arranged[0]), &view(&arranged[1]), &self.gamma, self.epsilon).unwrap();
        let given = problem.given().dx(&self.order.view(&dx, self.sizes)).unwrap();
        given.dgamma(&theirs.dgamma).unwrap().dbeta(&theirs.dbeta).unwrap().diagnose().unwrap()
    }
}

const SHAPES: [Sizes; 6] = [
    Sizes { n: 4, c: 5, plane: 1 },
    Sizes { n: 12, c: 3, plane: 1 },
    Sizes { n: 6, c: 3, plane: 20 },
    Sizes { n: 5, c: 2, plane: 9 },
    Sizes { n: 7, c: 1, plane: 1 },
    Sizes { n: 3, c: 4, plane: 49 },
];

fn case<T: Element>(number: usize, epsilon: f64, random: &mut Random) -> Case<T> {
    let sizes = SHAPES[number % SHAPES.len()];
    let order = support::run::ORDERS[number % 4];
    let (mean, deviation) = (3.0 * random.normal(), 0.5 + random.uniform());
    let len = sizes.n * sizes.c * sizes.plane;
    let mut array = |mean: f64, deviation: f64| -> Vec<T> {
        random.normals(len, mean, deviation).into_iter().map(T::from_f64).collect()
    };
    let (x, dy) = (array(mean, deviation), array(0.3, 1.0));
    let gamma =
        (0..sizes.c).map(|_| (0.4 + random.uniform()) * if random.below(2) == 0 { 1.6 } else { -0.9 }).collect();
    Case { sizes, order, x, dy, gamma, epsilon }
}

fn verdicts(diagnosis: &Diagnosis) -> [&Verdict; 3] {
    [&diagnosis.dx, &diagnosis.dgamma, &diagnosis.dbeta].map(|finding| &finding.as_ref().expect("it was given").verdict)
}

/// Plants every flaw on 100 inputs; gives how often it was named alone, among others, and not.
fn plant<T, R>(epsilon: f64, seed: u64)
where
    T: Element + batchnorm::reference::Real,
    R: batchnorm::reference::Real + Into<f64>,
{
    let mut random = Random::new(seed);
    for &(flaw, name, seen) in FLAWS {
        let (mut alone, mut among) = (0, 0);
        for number in 0..100 {
            let case = case::<T>(number, epsilon, &mut random);
            let diagnosis = case.judged(&case.by::<R>(|_| flaw));
            for (verdict, seen) in verdicts(&diagnosis).into_iter().zip(seen) {
                let what = || format!("{flaw:?} number {number}: {verdict:?}");
                if !seen {
                    assert!(!verdict.is_wrong(), "{}", what());
                    continue;
                }
                let Verdict::Wrong(mistakes) = verdict else { panic!("{}", what()) };
                assert!(mistakes.iter().any(|mistake| mistake.name == name), "{}", what());
                if mistakes.len() == 1 {
                    alone += 1
                } else {
                    among += 1
                }
                if mistakes.len() > 1 {
                    println!("{}", what());
                }
            }
        }
        println!("{flaw:?}: alone {alone}, among others {among}");
        assert!(among * 20 <= alone, "{flaw:?} is named alone too seldom: {alone}, among others {among}");
    }
}

#[test]
fn planted_mistakes_are_named_in_f64() {
    plant::<f64, f64>(1e-3, 601);
}

#[test]
fn planted_mistakes_are_named_in_f32_files() {
    plant::<f32, f64>(1e-2, 602);
}

#[test]
fn planted_mistakes_are_named_in_f32_arithmetic() {
    plant::<f32, f32>(1e-2, 603);
}
