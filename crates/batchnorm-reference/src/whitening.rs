//! Decorrelated batch norm of one group of channels, by plus, minus, times, divided and square roots alone: no
//! eigenvalue is looked for.

use super::{Real, mean, sum};

/// A square matrix, row after row.
pub type Matrix<R> = Vec<Vec<R>>;

/// The forward pass of one group.
#[derive(Debug, Clone)]
pub struct Forward<R> {
    /// m_i = 1/n sum x_i.
    pub mean: Vec<R>,
    /// C_ij = 1/n sum (x_i - m_i)(x_j - m_j).
    pub covariance: Matrix<R>,
    /// W = (C + eps I)^(-1/2).
    pub whitening: Matrix<R>,
    /// xhat = W (x - m), a row for each channel.
    pub normalized: Vec<Vec<R>>,
    /// y = gamma xhat + beta, a row for each channel.
    pub y: Vec<Vec<R>>,
}

/// The gradients of one group.
#[derive(Debug, Clone)]
pub struct Gradients<R> {
    /// Of the input, a row for each channel.
    pub dx: Vec<Vec<R>>,
    /// Of the scale of each channel.
    pub dgamma: Vec<R>,
    /// Of the shift of each channel.
    pub dbeta: Vec<R>,
}

/// y of a group (Huang et al. 2018, ZCA); `x` has a row for each channel.
///
/// # Panics
/// Without a channel, or where the lengths do not fit.
///
/// ```
/// use batchnorm_reference::whitening;
/// let x = [vec![1.0, 2.0, 3.0, 4.0], vec![1.5, 1.5, 3.5, 3.5]];
/// let pass = whitening::forward(&x, &[1.0, 1.0], &[0.0, 0.0], 0.0);
/// let correlation: f64 = pass.y[0].iter().zip(&pass.y[1]).map(|(one, other)| one * other).sum();
/// assert!(correlation.abs() < 1e-12);
/// ```
pub fn forward<R: Real>(x: &[Vec<R>], gamma: &[R], beta: &[R], epsilon: R) -> Forward<R> {
    let m: Vec<R> = x.iter().map(|row| mean(row.iter().copied())).collect();
    let centered = centered(x);
    let n = R::constant(x[0].len() as f64);
    let product = |one: &[R], other: &[R]| sum(one.iter().zip(other).map(|(&one, &other)| one * other)) / n;
    let covariance: Matrix<R> =
        centered.iter().map(|one| centered.iter().map(|other| product(one, other)).collect()).collect();
    let whitening = inverse_root(&plus(&covariance, epsilon));
    let normalized = times(&whitening, &centered);
    let y = |(i, row): (usize, &Vec<R>)| row.iter().map(|&xhat| gamma[i] * xhat + beta[i]).collect();
    let y = normalized.iter().enumerate().map(y).collect();
    Forward { mean: m, covariance, whitening, normalized, y }
}

/// The gradients of a group. With g = gamma dy, G the symmetric part of sum g (x - m)^T and S = DW(G), the derivative of
/// the inverse square root in direction G (which is its own adjoint): dx = W (g - mean(g)) + 2/n S (x - m).
///
/// DW(G) is read off a matrix twice as large (Mathias 1996): f of [[A, G], [0, A]] is [[f(A), Df(A)(G)], [0, f(A)]].
///
/// # Panics
/// Without a channel, or where the lengths do not fit.
///
/// ```
/// use batchnorm_reference::whitening;
/// let x = [vec![1.0, 2.0, 3.0, 4.0], vec![1.5, 1.5, 3.5, 3.5]];
/// let dy = [vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 0.0, 0.5, 0.0]];
/// let gradients = whitening::backward(&x, &[1.0, 1.0], 1e-5, &dy);
/// assert!(gradients.dx[0].iter().sum::<f64>().abs() < 1e-12);
/// ```
pub fn backward<R: Real>(x: &[Vec<R>], gamma: &[R], epsilon: R, dy: &[Vec<R>]) -> Gradients<R> {
    let zeros = vec![R::constant(0.0); x.len()];
    let Forward { covariance, whitening, normalized, .. } = forward(x, gamma, &zeros, epsilon);
    let (d, n) = (x.len(), R::constant(x[0].len() as f64));
    let centered = centered(x);
    let g: Vec<Vec<R>> = dy.iter().zip(gamma).map(|(row, &gamma)| row.iter().map(|&dy| gamma * dy).collect()).collect();
    let product = |one: &[R], other: &[R]| sum(one.iter().zip(other).map(|(&one, &other)| one * other));
    let half = R::constant(0.5);
    let symmetric = |i: usize, j: usize| half * (product(&g[i], &centered[j]) + product(&g[j], &centered[i]));
    let shifted = plus(&covariance, epsilon);
    let block = |i: usize, j: usize| match (i < d, j < d) {
        (true, true) => shifted[i][j],
        (true, false) => symmetric(i, j - d),
        (false, true) => R::constant(0.0),
        (false, false) => shifted[i - d][j - d],
    };
    let large: Matrix<R> = (0..2 * d).map(|i| (0..2 * d).map(|j| block(i, j)).collect()).collect();
    let slope: Matrix<R> = inverse_root(&large)[..d].iter().map(|row| row[d..].to_vec()).collect();
    let direct = times(&whitening, &self::centered(&g));
    let through = times(&slope, &centered);
    let two = R::constant(2.0);
    let dx = direct.iter().zip(&through);
    let dx = dx.map(|(one, other)| one.iter().zip(other).map(|(&one, &other)| one + two * other / n).collect());
    Gradients {
        dx: dx.collect(),
        dgamma: dy.iter().zip(&normalized).map(|(dy, xhat)| product(dy, xhat)).collect(),
        dbeta: dy.iter().map(|row| sum(row.iter().copied())).collect(),
    }
}

/// Steps of the iteration: each halves an eigenvalue's distance in octaves until it is near, then doubles the digits.
/// Enough for condition numbers up to 1e20 in double-double.
const STEPS: usize = 42;

/// A^(-1/2) by the coupled iteration of Denman and Beavers (1976): P <- (P + Q^-1)/2, Q <- (Q + P^-1)/2 from P = A, Q = I
/// go to A^(1/2) and A^(-1/2). A is positive definite, or made of such blocks.
///
/// ```
/// use batchnorm_reference::whitening::inverse_root;
/// let root = inverse_root(&vec![vec![4.0f64, 0.0], vec![0.0, 0.25]]);
/// assert!((root[0][0] - 0.5).abs() < 1e-15 && (root[1][1] - 2.0f64).abs() < 1e-15);
/// ```
pub fn inverse_root<R: Real>(a: &Matrix<R>) -> Matrix<R> {
    let d = a.len();
    // Scaled to a mean eigenvalue of 1.
    let scale = sum((0..d).map(|i| a[i][i])) / R::constant(d as f64);
    let half = R::constant(0.5);
    let average = |one: &Matrix<R>, other: &Matrix<R>| -> Matrix<R> {
        let row = |(one, other): (&Vec<R>, &Vec<R>)| {
            one.iter().zip(other).map(|(&one, &other)| half * (one + other)).collect()
        };
        one.iter().zip(other).map(row).collect()
    };
    let mut p: Matrix<R> = a.iter().map(|row| row.iter().map(|&value| value / scale).collect()).collect();
    let mut q = plus(&vec![vec![R::constant(0.0); d]; d], R::constant(1.0));
    for _ in 0..STEPS {
        (p, q) = (average(&p, &inverse(&q)), average(&q, &inverse(&p)));
    }
    let root = scale.sqrt();
    q.iter().map(|row| row.iter().map(|&value| value / root).collect()).collect()
}

/// By Gauss and Jordan, without exchanging rows: positive definite blocks need no such care.
fn inverse<R: Real>(a: &Matrix<R>) -> Matrix<R> {
    let d = a.len();
    let mut left = a.clone();
    let mut right = plus(&vec![vec![R::constant(0.0); d]; d], R::constant(1.0));
    for pivot in 0..d {
        let by = R::constant(1.0) / left[pivot][pivot];
        for j in 0..d {
            left[pivot][j] = left[pivot][j] * by;
            right[pivot][j] = right[pivot][j] * by;
        }
        for i in (0..d).filter(|&i| i != pivot) {
            let factor = left[i][pivot];
            for j in 0..d {
                left[i][j] = left[i][j] - factor * left[pivot][j];
                right[i][j] = right[i][j] - factor * right[pivot][j];
            }
        }
    }
    right
}

fn centered<R: Real>(x: &[Vec<R>]) -> Vec<Vec<R>> {
    let row = |row: &Vec<R>| {
        let m = mean(row.iter().copied());
        row.iter().map(|&x| x - m).collect()
    };
    x.iter().map(row).collect()
}

/// A + c I.
fn plus<R: Real>(a: &Matrix<R>, c: R) -> Matrix<R> {
    let mut a = a.clone();
    for (i, row) in a.iter_mut().enumerate() {
        row[i] = row[i] + c;
    }
    a
}

/// A matrix times the columns of some rows.
fn times<R: Real>(a: &Matrix<R>, rows: &[Vec<R>]) -> Vec<Vec<R>> {
    let n = rows[0].len();
    let element = |weights: &Vec<R>, k: usize| sum(weights.iter().zip(rows).map(|(&w, row)| w * row[k]));
    a.iter().map(|weights| (0..n).map(|k| element(weights, k)).collect()).collect()
}
