//! Eigenvalues of a covariance, its inverse square root, and that root's derivatives.
//!
//! By Jacobi's method (Jacobi 1846, in Rutishauser's form of 1966), not by tridiagonal QR as linear-algebra crates have
//! it: Jacobi finds the small eigenvalues of a positive matrix to as many digits as the matrix determines them, also
//! where its channels differ in size (Demmel and Veselic 1992), while QR errs by 1e-16 of the *largest*. With channels
//! of standard deviations 1e6 and 1, correlated by 0.7, the smaller eigenvalue from `nalgebra` 0.35 was off by 7e-5 of
//! itself, that from here by 2e-16. And it needs + - * / and square roots alone, in a fixed order.

/// Eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Eigen {
    pub values: Vec<f64>,
    /// Row k is the eigenvector of value k.
    pub vectors: Vec<f64>,
}

/// Largest number of sweeps: 7 are enough for 16 channels, 11 for 256; what is left after these is far below rounding
/// anyway.
const SWEEPS: usize = 40;

/// Eigenvalues and eigenvectors of a symmetric d x d matrix, which is used up. `floor` will be added to all eigenvalues
/// later on: less precision is enough where they are small against it.
pub(super) fn decompose(matrix: &mut [f64], d: usize, floor: f64) -> Eigen {
    let mut vectors = vec![0.0; d * d];
    (0..d).for_each(|k| vectors[k * d + k] = 1.0);
    for _ in 0..SWEEPS {
        let mut changed = false;
        for p in 0..d {
            for q in p + 1..d {
                let (app, aqq, apq) = (matrix[p * d + p], matrix[q * d + q], matrix[p * d + q]);
                let size = (app.abs() + floor).sqrt() * (aqq.abs() + floor).sqrt();
                // Too small to matter. (0 beside two zeros, too: a rotation would divide 0 by 0.)
                if apq.abs() <= f64::EPSILON / 4.0 * size {
                    continue;
                }
                changed = true;
                let [t, s, tau] = rotation(app, aqq, apq);
                rotate_rows_and_columns(matrix, d, [p, q], [s, tau]);
                matrix[p * d + p] = app - t * apq;
                matrix[q * d + q] = aqq + t * apq;
                matrix[p * d + q] = 0.0;
                matrix[q * d + p] = 0.0;
                let (before_q, from_q) = vectors.split_at_mut(q * d);
                for (one, other) in before_q[p * d..][..d].iter_mut().zip(&mut from_q[..d]) {
                    (*one, *other) = rotated(*one, *other, [s, tau]);
                }
            }
        }
        if !changed {
            break;
        }
    }
    Eigen { values: (0..d).map(|k| matrix[k * d + k]).collect(), vectors }
}

/// The smaller angle that makes the element between two diagonal ones 0: its tangent, its sine, the tangent of its
/// half.
fn rotation(app: f64, aqq: f64, apq: f64) -> [f64; 3] {
    let theta = (aqq - app) / apq * 0.5;
    let t = if theta.abs() > 1e150 {
        0.5 / theta // its square would overflow
    } else {
        (if theta < 0.0 { -1.0 } else { 1.0 }) / (theta.abs() + (theta * theta + 1.0).sqrt())
    };
    let c = 1.0 / (t * t + 1.0).sqrt();
    [t, t * c, t * c / (1.0 + c)]
}

/// Two numbers, rotated by the angle of sine s whose half has the tangent tau.
fn rotated(one: f64, other: f64, [s, tau]: [f64; 2]) -> (f64, f64) {
    (one - s * (other + one * tau), other + s * (one - other * tau))
}

/// Rotates rows and columns p and q of a symmetric matrix, but for the four elements where they cross.
fn rotate_rows_and_columns(matrix: &mut [f64], d: usize, [p, q]: [usize; 2], angle: [f64; 2]) {
    for k in (0..d).filter(|&k| k != p && k != q) {
        let (one, other) = rotated(matrix[p * d + k], matrix[q * d + k], angle);
        matrix[p * d + k] = one;
        matrix[k * d + p] = one;
        matrix[q * d + k] = other;
        matrix[k * d + q] = other;
    }
}

/// The inverse square root of a covariance, and what its derivatives need.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InverseRoot {
    /// Row k is the eigenvector k.
    vectors: Vec<f64>,
    /// Square roots of the eigenvalues, eps included.
    roots: Vec<f64>,
    /// W, symmetric.
    pub matrix: Vec<f64>,
}

impl InverseRoot {
    /// (C + eps I)^(-1/2) of a finite d x d covariance C; `degenerate` says that C is known to have no inverse.
    ///
    /// eps is added to the eigenvalues of C, which are not negative but for rounding: so a C without an inverse leaves
    /// eps exactly, however large its other eigenvalues are.
    ///
    /// # Errors
    /// The smallest eigenvalue, if eps is 0 and that one cannot be told from 0.
    pub fn of_covariance(covariance: &[f64], d: usize, epsilon: f64, degenerate: bool) -> Result<InverseRoot, f64> {
        let deviations: Vec<f64> = (0..d).map(|k| covariance[k * d + k].max(0.0).sqrt()).collect();
        let Eigen { values, vectors } = decompose(&mut covariance.to_vec(), d, epsilon);
        if epsilon == 0.0 {
            let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
            // An eigenvalue that may be rounding alone cannot be told from 0.
            let may_be_zero = |k: usize| values[k] <= rounding_bound(&vectors[k * d..][..d], &deviations);
            if degenerate || (0..d).any(may_be_zero) {
                return Err(smallest);
            }
        }
        let roots: Vec<f64> = values.iter().map(|value| (value.max(0.0) + epsilon).sqrt()).collect();
        let matrix = symmetric(&vectors, d, |k, l| if k == l { 1.0 / roots[k] } else { 0.0 });
        Ok(InverseRoot { vectors, roots, matrix })
    }

    /// The derivative of f(C) = (C + eps I)^(-1/2) in a symmetric direction, U (K o (U^T E U)) U^T (Daleckii and Krein
    /// 1965). The divided differences K_ab of l^(-1/2) are -1 / (ra rb (ra + rb)) with r = sqrt(l): no difference is
    /// divided by, so equal eigenvalues are nothing special. The map is its own adjoint.
    pub fn derivative(&self, direction: &[f64]) -> Vec<f64> {
        let (d, roots) = (self.roots.len(), &self.roots);
        let inner = conjugated(&self.vectors, direction, d);
        // One division after the other: the product of three roots may be too large or too small for an f64.
        symmetric(&self.vectors, d, |k, l| -inner[k * d + l] / roots[k] / roots[l] / (roots[k] + roots[l]))
    }

    /// The second derivative of the same f in two symmetric directions E and H, symmetric in both. In the basis of the
    /// eigenvectors it is `sum_m f[k,m,l] (E_km H_ml + H_km E_ml)`, and the second divided differences of l^(-1/2) are
    /// `f[k,m,l] = (rk + rm + rl) / (rk rm rl (rk + rm) (rm + rl) (rk + rl))`: again no difference is divided by.
    pub fn second_derivative(&self, directions: [&[f64]; 2]) -> Vec<f64> {
        let (d, roots) = (self.roots.len(), &self.roots);
        let [one, other] = directions.map(|direction| {
            let mut inner = conjugated(&self.vectors, direction, d);
            inner.iter_mut().enumerate().for_each(|(at, value)| *value /= roots[at / d] + roots[at % d]);
            inner
        });
        symmetric(&self.vectors, d, |k, l| {
            let term = |m: usize| {
                let products = one[k * d + m] * other[m * d + l] + other[k * d + m] * one[m * d + l];
                // (rk + rm + rl) / (rm (rk + rl)).
                products * (1.0 / roots[m] + 1.0 / (roots[k] + roots[l]))
            };
            (0..d).fold(0.0, |sum, m| sum + term(m)) / roots[k] / roots[l]
        })
    }

    /// The inverse root for a group that is not finite: it makes all of its output NaN.
    pub fn not_a_number(d: usize) -> InverseRoot {
        InverseRoot { vectors: vec![f64::NAN; d * d], roots: vec![f64::NAN; d], matrix: vec![f64::NAN; d * d] }
    }
}

/// Bound on an eigenvalue that is rounding alone: the rounding of v^T C v, each element of C being at most the product
/// of two standard deviations.
fn rounding_bound(vector: &[f64], deviations: &[f64]) -> f64 {
    let reach: f64 = vector.iter().zip(deviations).map(|(v, deviation)| v.abs() * deviation).sum();
    8.0 * f64::EPSILON * reach * reach
}

/// The smallest eigenvalue of a matrix, if it is below 0 by more than rounding explains.
pub(super) fn negative_eigenvalue(matrix: &[f64], d: usize) -> Option<f64> {
    let largest = (0..d).map(|k| matrix[k * d + k].abs()).fold(0.0, f64::max);
    let Eigen { values, .. } = decompose(&mut matrix.to_vec(), d, 0.0);
    // A checkpoint may have been rounded to f32, which moves eigenvalues by some 1e-7 of the largest element.
    values.into_iter().filter(|&value| value < -1e-6 * largest * d as f64).min_by(f64::total_cmp)
}

/// V E V^T, V having the vectors as rows.
fn conjugated(vectors: &[f64], inner: &[f64], d: usize) -> Vec<f64> {
    let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).fold(0.0, |sum, (one, other)| sum + one * other);
    // product[l][i] = (E v_l)_i: E is symmetric, so that its rows serve as columns.
    let product: Vec<f64> = vectors
        .chunks_exact(d)
        .flat_map(|vector| inner.chunks_exact(d).map(move |row| (row, vector)))
        .map(|(row, vector)| dot(row, vector))
        .collect();
    vectors.chunks_exact(d).flat_map(|vector| product.chunks_exact(d).map(move |row| dot(vector, row))).collect()
}

/// V^T E V of a symmetric E, whose elements `inner` gives; symmetric to the bit.
fn symmetric(vectors: &[f64], d: usize, inner: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    // V^T: row i has the elements of all vectors in channel i.
    let mut columns = vec![0.0; d * d];
    for (k, vector) in vectors.chunks_exact(d).enumerate() {
        vector.iter().enumerate().for_each(|(i, &value)| columns[i * d + k] = value);
    }
    let elements: Vec<f64> = (0..d * d).map(|at| inner(at / d, at % d)).collect();
    let full = conjugated(&columns, &elements, d);
    // The lower triangle for the upper one, whose rounding may differ.
    (0..d * d).map(|at| full[if at / d < at % d { at % d * d + at / d } else { at }]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eigenvalues ascending.
    fn sorted(matrix: &[f64], d: usize) -> Vec<f64> {
        let mut values = decompose(&mut matrix.to_vec(), d, 0.0).values;
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn small_eigenvalues_beside_large_ones_keep_their_digits() {
        for size in [1.0, 1e3, 1e6, 1e8, 1e10] {
            let (a, b, c): (f64, f64, f64) = (size * size, 0.7 * size, 1.0);
            let determinant = a * c * (1.0 - 0.49);
            let large = ((a + c) + ((a + c) * (a + c) - 4.0 * determinant).sqrt()) / 2.0;
            let small = determinant / large;
            let got = sorted(&[a, b, b, c], 2)[0];
            println!("standard deviations {size:e} and 1: {:.1e}", (got / small - 1.0).abs());
            assert!((got / small - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn equal_missing_huge_and_tiny_eigenvalues() {
        for d in [1, 2, 3, 16, 33] {
            // Exactly c I: nothing to rotate.
            let identity: Vec<f64> = (0..d * d).map(|at| if at % (d + 1) == 0 { 3.0 } else { 0.0 }).collect();
            assert_eq!(sorted(&identity, d), vec![3.0; d]);
            // All elements alike: one eigenvalue d, the others 0.
            for size in [1e-290, 1.0, 1e290] {
                let values = sorted(&vec![size; d * d], d);
                assert!((values[d - 1] / size / d as f64 - 1.0).abs() < 1e-14);
                assert!(values[..d - 1].iter().all(|value| value.abs() < 1e-14 * size * d as f64), "{values:?}");
            }
        }
    }

    #[test]
    fn vectors_are_orthogonal_and_give_the_matrix_back() {
        for d in [2, 5, 16, 40] {
            let matrix: Vec<f64> = (0..d * d)
                .map(|at| (at / d, at % d))
                .map(|(i, j): (usize, usize)| {
                    1.0 / (1.0 + i.abs_diff(j) as f64) + if i == j { i as f64 / 10.0 } else { 0.0 }
                })
                .collect();
            let Eigen { values, vectors } = decompose(&mut matrix.clone(), d, 0.0);
            let again = symmetric(&vectors, d, |k, l| if k == l { values[k] } else { 0.0 });
            let unit = symmetric(&vectors, d, |k, l| if k == l { 1.0 } else { 0.0 });
            for at in 0..d * d {
                assert!((again[at] - matrix[at]).abs() < 3e-14);
                assert!((unit[at] - if at % (d + 1) == 0 { 1.0 } else { 0.0 }).abs() < 1e-14);
            }
        }
    }

    /// A symmetric matrix of no particular kind.
    fn wavy(d: usize, phase: f64) -> Vec<f64> {
        (0..d * d)
            .map(|at| ((at / d + at % d) as f64 + phase).sin() + ((at / d * (at % d)) as f64 * phase).cos())
            .collect()
    }

    /// The symmetric product EH + HE.
    fn both_products(one: &[f64], other: &[f64], d: usize) -> Vec<f64> {
        let product = |one: &[f64], other: &[f64], at: usize| -> f64 {
            (0..d).map(|m| one[at / d * d + m] * other[m * d + at % d]).sum()
        };
        (0..d * d).map(|at| product(one, other, at) + product(other, one, at)).collect()
    }

    /// Where C = c I, all eigenvalues are equal: the second derivative is 3/8 c^(-5/2) (EH + HE), the first
    /// -1/2 c^(-3/2) E. So they are beside one that is equal but for the last bit.
    #[test]
    fn equal_eigenvalues_do_not_disturb_derivatives() {
        for d in [1, 2, 5, 16] {
            let (c, one, other) = (3.0f64, wavy(d, 0.3), wavy(d, 1.1));
            let products = both_products(&one, &other, d);
            for last_bit in [0.0, 2.0 * f64::EPSILON] {
                let covariance: Vec<f64> = (0..d * d).map(|at| if at % (d + 1) == 0 { c } else { 0.0 }).collect();
                let covariance = [&[c + last_bit], &covariance[1..]].concat();
                let root = InverseRoot::of_covariance(&covariance, d, 0.0, false).expect("it has an inverse");
                let (slope, curvature) = (root.derivative(&one), root.second_derivative([&one, &other]));
                for at in 0..d * d {
                    assert!((slope[at] + 0.5 * c.powf(-1.5) * one[at]).abs() < 1e-14);
                    assert!((curvature[at] - 0.375 * c.powf(-2.5) * products[at]).abs() < 1e-14 * d as f64);
                }
            }
        }
    }

    /// The second derivative against differences of the first, where eigenvalues are unequal.
    #[test]
    fn the_second_derivative_is_that_of_the_first() {
        for d in [1, 3, 8] {
            let mut covariance = both_products(&wavy(d, 0.7), &wavy(d, 0.7), d);
            (0..d).for_each(|k| covariance[k * d + k] += 0.01 + k as f64);
            let (one, other) = (wavy(d, 0.3), wavy(d, 1.1));
            let slope_at = |step: f64| {
                let moved: Vec<f64> = covariance.iter().zip(&other).map(|(c, by)| c + step * by).collect();
                InverseRoot::of_covariance(&moved, d, 0.5, false).expect("it has an inverse").derivative(&one)
            };
            let root = InverseRoot::of_covariance(&covariance, d, 0.5, false).expect("it has an inverse");
            let (ahead, behind) = (slope_at(1e-5), slope_at(-1e-5));
            for (at, curvature) in root.second_derivative([&one, &other]).into_iter().enumerate() {
                let difference = (ahead[at] - behind[at]) / 2e-5;
                assert!((curvature - difference).abs() < 1e-8 * (1.0 + curvature.abs()), "{curvature} {difference}");
            }
        }
    }
}
