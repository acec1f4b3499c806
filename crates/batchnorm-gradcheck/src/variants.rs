//! The variants of each mistake: the wrong gradients that it gives, by how it is made.

use crate::row::{Line, Multiplier, Row};

impl Line {
    /// The line, said to be made with another inverse deviation.
    pub fn with(self, inverse: f64) -> Line {
        Line { inverse, ..self }
    }

    /// The line less a term slope * (x - m + shift), which is this large before anything cancels.
    pub fn less(mut self, slope: f64, shift: f64, size: f64) -> Line {
        self.level[0] -= slope * shift;
        self.slope[0] -= slope;
        self.size += size.abs();
        self
    }
}

impl Row<'_> {
    /// sum gamma dy (x - m + shift), and how large that times x - m + shift is before anything cancels.
    pub fn product_about(&self, shift: f64) -> (f64, f64) {
        let size = self.sizes.products[1] + shift.abs() * self.sizes.sums[1];
        (self.products[1] + shift * self.sums[1], size * (self.sizes.max_centered + shift.abs()))
    }

    /// 1 / sqrt(v + eps), v of the values themselves.
    pub fn unweighted_inverse(&self) -> f64 {
        1.0 / (self.unweighted.variance + self.problem.epsilon).sqrt()
    }
}

/// The sum of dy (slope (x - m) + level), without gamma.
pub(crate) fn by(slope: f64, level: f64) -> Multiplier {
    Multiplier { slope, level, power: 0 }
}

/// Another inverse deviation, in some places or all: in front, and in each of the three of the variance term. (The mean
/// term has the one in front.)
pub(crate) fn with_deviation(row: &Row, other: f64) -> Vec<Line> {
    let right = row.inverse;
    if !row.has_variance_term() {
        return vec![row.line(other, 0.0, 0.0).with(other)];
    }
    let mut variants = Vec::new();
    for (front, counts) in [(other, 0..4), (right, 1..4)] {
        let [front, level, _] = row.factors(front);
        for count in counts {
            let cube = (0..3).map(|factor| if factor < count { other } else { right }).product::<f64>();
            variants.push(row.line(front, level, row.r() * cube / row.n).with(other));
        }
    }
    variants
}

/// 1 / sqrt(v n / (n - 1) + eps).
pub(crate) fn sample_inverse(row: &Row) -> f64 {
    1.0 / (row.variance * row.n / (row.n - 1.0) + row.problem.epsilon).sqrt()
}

/// The variance divided by n - 1: forward, backward, or both.
pub(crate) fn sample_variance(row: &Row) -> Vec<Line> {
    let sample = sample_inverse(row);
    let mut variants = with_deviation(row, sample);
    let more = row.n / (row.n - 1.0);
    let [direct, level, slope] = row.factors(row.inverse);
    let [front, level_s, slope_s] = row.factors(sample);
    // The derivative of the sample variance itself; then n - 1 in the backward pass alone; then in both means.
    for (front, level, slope) in [
        (front, level_s, slope_s * more),
        (front, level_s, slope * more),
        (direct, level, slope * more),
        (direct, level * more, slope),
        (direct, level * more, slope * more),
        (front, level_s * more, slope_s * more),
    ] {
        variants.push(row.line(front, level, slope).with(sample));
    }
    variants
}

/// Sums in place of the means: of one term, or of both.
pub(crate) fn sums_for_means(row: &Row) -> Vec<Line> {
    let [direct, level, slope] = row.factors(row.inverse);
    let n = row.n;
    let mut variants = vec![row.line(direct, level, slope * n)];
    if row.has_mean_term() {
        variants.push(row.line(direct, level * n, slope));
        variants.push(row.line(direct, level * n, slope * n));
    }
    variants
}

/// The number of values that have one parameter, or the sum of their weights.
pub(crate) fn values_a_parameter(row: &Row) -> f64 {
    if row.weights.is_some() { row.n } else { row.problem.values_a_parameter() as f64 }
}

/// The counts that a sum may have been divided by: all values, samples, or positions. NaN, which fits nothing, for 1.
pub(crate) fn means(row: &Row) -> impl Iterator<Item = f64> {
    let [samples, positions] = row.problem.samples_and_positions().map(|n| n as f64);
    [values_a_parameter(row), samples, positions].into_iter().map(|n| if n == 1.0 { f64::NAN } else { n })
}

/// 1/N or 1/P in place of 1/(N P).
pub(crate) fn wrong_count(row: &Row) -> Vec<Line> {
    let [direct, level, slope] = row.factors(row.inverse);
    let mut variants = Vec::new();
    for count in row.problem.samples_and_positions() {
        let more = row.n / count as f64;
        variants.push(row.line(direct, level, slope * more));
        variants.push(row.line(direct, level * more, slope));
        variants.push(row.line(direct, level * more, slope * more));
        // 1/N (N P dy - sum(dy) - xhat sum(dy xhat)), and 1/(N P) (N dy - ...).
        variants.push(row.right().times(more));
        variants.push(row.line(direct / more, level, slope));
        variants.push(row.right().times(1.0 / more));
    }
    variants
}

/// gamma^power in place of gamma in some of the terms or all.
pub(crate) fn by_powers_of_gamma(row: &Row, power: usize) -> Vec<Line> {
    let [direct, level, slope] = row.factors(row.inverse);
    let mut variants = Vec::new();
    // A term that the right dx does not have cannot have a wrong gamma.
    let absent = [false, !row.has_mean_term(), !row.has_variance_term()];
    let possible = |wrong: &usize| (0..3).all(|term| wrong >> term & 1 == 0 || !absent[term]);
    for wrong in (1..8usize).filter(possible) {
        let power = |term: usize| if wrong >> term & 1 == 1 { power } else { 1 };
        let mut line = row.line(0.0, 0.0, 0.0);
        line.size = row.size([power(0), power(1), power(2)], [direct, level, slope]);
        line.direct[power(0)] = direct;
        line.level[0] = -level * row.sums[power(1)];
        line.slope[0] = -slope * row.products[power(2)];
        variants.push(line);
        // Behind the sum rather than in it; the same where gamma is one number.
        if row.gamma.len() > 1 {
            line.level = [0.0; 2];
            line.slope = [0.0; 2];
            let (inner, outer) = if power(1) == 0 { (0, 0) } else { (1, power(1) - 1) };
            line.level[outer] = -level * row.sums[inner];
            let (inner, outer) = if power(2) == 0 { (0, 0) } else { (1, power(2) - 1) };
            line.slope[outer] = -slope * row.products[inner];
            variants.push(line);
        }
    }
    variants
}

/// gamma_i r (dy_i - mean(dy) - xhat_i mean(dy xhat)).
pub(crate) fn gamma_behind(row: &Row) -> Line {
    let [direct, level, slope] = row.factors(row.inverse);
    let size = row.sizes.max_gamma * row.size([0, 0, 0], [direct, level, slope]);
    let line = Line { size, ..row.line(direct, 0.0, 0.0) };
    Line { level: [0.0, -level * row.sums[0]], slope: [0.0, -slope * row.products[0]], ..line }
}

/// Other signs of one term or more.
pub(crate) fn wrong_signs(row: &Row) -> Vec<Line> {
    let [direct, level, slope] = row.factors(row.inverse);
    let mut variants = vec![row.right().times(-1.0)];
    if row.has_variance_term() {
        variants.extend([row.line(direct, level, -slope), row.line(-direct, level, slope)]);
    }
    if row.has_mean_term() {
        variants.extend([row.line(direct, -level, slope), row.line(direct, -level, -slope)]);
        variants.extend([row.line(-direct, -level, slope), row.line(-direct, level, -slope)]);
    }
    variants
}

/// 1 / sqrt(mean(x^2) + eps).
pub(crate) fn rms_inverse(row: &Row) -> f64 {
    1.0 / (row.unweighted.variance + row.unweighted.mean.0 * row.unweighted.mean.0 + row.problem.epsilon).sqrt()
}

/// x for x - mean, in the sum, as a factor, or both; with and without the mean term; and RMS norm.
pub(crate) fn uncentred(row: &Row) -> Vec<Line> {
    if !row.has_variance_term() {
        return Vec::new();
    }
    let [direct, level, slope] = row.factors(row.inverse);
    let (m, by_c) = (row.mean, row.products[1]);
    let (by_x, size) = row.product_about(m);
    let mut variants = Vec::new();
    for level in [level, 0.0] {
        let line = row.line(direct, level, 0.0);
        variants.push(line.less(slope * by_x, 0.0, slope * size));
        variants.push(line.less(slope * by_c, m, slope * size));
        variants.push(line.less(slope * by_x, m, slope * size));
        let root = rms_inverse(row);
        let front = row.r() * root;
        let slope = front * root * root / row.n;
        let line = row.line(front, if level == 0.0 { 0.0 } else { front / row.n }, 0.0);
        variants.push(line.less(slope * by_x, m, slope * size));
    }
    variants
}

/// The formula of training in evaluation: by the constants, or by mean and variance of the batch.
pub(crate) fn training_in_evaluation(row: &Row) -> Vec<Line> {
    let n = row.len();
    let r = row.inverse;
    let of_batch = row.unweighted_inverse();
    // The products about the batch's mean, and x - mean in terms of x - constant.
    let between = row.mean - row.unweighted.mean.0;
    let (product, size) = row.product_about(between);
    let [slope, about] = [of_batch, r].map(|inverse| inverse * inverse * inverse / n);
    let by_batch = row.line(of_batch, of_batch / n, 0.0).less(slope * product, between, slope * size);
    let about_batch = row.line(r, r / n, 0.0).less(about * product, between, about * size);
    vec![
        row.line(r, r / n, r * r * r / n),
        row.line(r, r / n, 0.0),
        row.line(r, 0.0, r * r * r / n),
        by_batch.with(of_batch),
        about_batch,
        row.line(of_batch, 0.0, 0.0).with(of_batch),
    ]
}

/// Weights left out: statistics of all values, and all of them alike; or statistics by the weights, and the terms of dx
/// with 1/n, n being the number of values or the sum of the weights.
pub(crate) fn weights_ignored(row: &Row) -> Vec<Line> {
    let n = row.len();
    let inverse = row.unweighted_inverse();
    let total = |term: &dyn Fn(usize) -> f64| (0..row.x.len()).map(term).sum::<f64>();
    let g = |i: usize| row.gamma_of(i) * row.dy[i];
    let between = row.mean - row.unweighted.mean.0;
    let product = total(&|i| g(i) * (row.centered[i] + between));
    let (level, slope) = (inverse / n * total(&g), inverse * inverse * inverse / n * product);
    let unweighted = |line: Line| Line { weighted: false, ..line };
    let size = inverse * inverse * inverse / n * row.product_about(between).1;
    let mut of_all = unweighted(row.line(inverse, inverse / n, 0.0)).less(slope, between, size);
    // (The line's own sums are of the values that count alone.)
    of_all.level[0] = -level - slope * between;
    let [front, ..] = row.factors(row.inverse);
    let by_weights = |n: f64| {
        let cube = row.inverse * row.inverse * row.inverse;
        unweighted(row.line(front, front / n, cube / n))
    };
    vec![of_all.with(inverse), by_weights(n), by_weights(row.n)]
}

/// 1 / sqrt(v + another eps). NaN, which fits nothing, for the right one.
pub(crate) fn other_deviations(row: &Row) -> impl Iterator<Item = f64> {
    let (variance, right) = (row.variance, row.problem.epsilon);
    let usual = [1e-3, 1e-4, 5e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 2.0 * right, -right];
    usual.into_iter().map(move |other| if other == right { f64::NAN } else { 1.0 / (variance + other).sqrt() })
}
