//! Somebody's gradients of batch norm, in any number type, and the diagnosis of them.

use crate::Random;
use crate::orders::{ORDERS, Order, Sizes};
use crate::planted::{Flaw, planted};
use batchnorm::Element;
use batchnorm_gradcheck::{Diagnosis, Problem, Verdict};
use batchnorm_reference::Real;

/// An array in NCHW order, its gradients by somebody, all in one number type.
pub struct Case<T> {
    pub sizes: Sizes,
    pub order: Order,
    pub x: Vec<T>,
    pub dy: Vec<T>,
    pub gamma: Vec<f64>,
    pub epsilon: f64,
}

/// What somebody's code gave.
pub struct Theirs<T> {
    pub dx: Vec<T>,
    pub dgamma: Vec<T>,
    pub dbeta: Vec<T>,
}

impl<T: Element + Real> Case<T> {
    /// Of a channel: the numbers of its values.
    pub fn numbers(&self, channel: usize) -> Vec<usize> {
        let Sizes { n, c, plane } = self.sizes;
        (0..n * plane).map(|i| (i / plane * c + channel) * plane + i % plane).collect()
    }

    /// By the planted code, in the arithmetic of R, the results kept as T; each channel with a flaw of its own.
    pub fn by<R: Real + Into<f64>>(&self, flaw: impl Fn(usize) -> Flaw) -> Theirs<T> {
        let blank = || vec![<T as Real>::constant(0.0); self.x.len()];
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

    pub fn judged<G: Element>(&self, theirs: &Theirs<G>) -> Diagnosis {
        let arranged = [&self.x, &self.dy].map(|values| self.order.arranged(values, self.sizes));
        let dx = self.order.arranged(&theirs.dx, self.sizes);
        let view = |data| self.order.view(data, self.sizes);
        let problem = Problem::batch_norm(&view(&arranged[0]), &view(&arranged[1]), &self.gamma, self.epsilon).unwrap();
        let given = problem.given().dx(&self.order.view(&dx, self.sizes)).unwrap();
        given.dgamma(&theirs.dgamma).unwrap().dbeta(&theirs.dbeta).unwrap().diagnose().unwrap()
    }
}

/// No N or P is 2: a factor of 2 and one of N would be the same.
const SHAPES: [Sizes; 6] = [
    Sizes { n: 5, c: 5, plane: 1 },
    Sizes { n: 12, c: 3, plane: 1 },
    Sizes { n: 6, c: 3, plane: 20 },
    Sizes { n: 5, c: 2, plane: 9 },
    Sizes { n: 7, c: 1, plane: 1 },
    Sizes { n: 3, c: 4, plane: 49 },
];

pub fn case<T: Element>(number: usize, epsilon: f64, random: &mut Random) -> Case<T> {
    let sizes = SHAPES[number % SHAPES.len()];
    let order = ORDERS[number % 4];
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

pub fn verdicts(diagnosis: &Diagnosis) -> [&Verdict; 3] {
    [&diagnosis.dx, &diagnosis.dgamma, &diagnosis.dbeta].map(|finding| &finding.as_ref().expect("it was given").verdict)
}
