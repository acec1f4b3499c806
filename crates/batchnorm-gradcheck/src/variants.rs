//! The ways in which one mistake is made.

use crate::row::{Line, Multiplier, Row};

impl Line {
    /// Made with another inverse deviation.
    pub fn with(self, inverse: f64) -> Line {
        Line { inverse, ..self }
    }

    /// Less a term slope * (x - m + shift), which is this large before anything cancels.
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
        (self.products[1] + shift * self.sums[1], size * (self.sizes.centered + shift.abs()))
    }

    /// 1 / sqrt(v + eps), v of the values themselves.
    pub fn own_inverse(&self) -> f64 {
        1.0 / (self.own.variance + self.problem.epsilon).sqrt()
    }
}

pub(crate) fn by(slope: f64, level: f64) -> Multiplier {
    Multiplier { slope, level, power: 0 }
}

/// Another inverse deviation, in some places or all: in front, and in each of the three of the variance term. (The mean
/// term has the one in front.)
pub(crate) fn with_deviation(row: &Row, other: f64) -> Vec<Line> {
    let own = row.inverse;
    if !row.has_variance_term() {
        return vec![row.line(other, 0.0, 0.0).with(other)];
    }
    let mut ways = Vec::new();
    for (front, others) in [(other, 0..4), (own, 1..4)] {
        let [front, level, _] = row.factors(front);
        for others in others {
            let cube = (0..3).map(|at| if at < others { other } else { own }).product::<f64>();
            ways.push(row.line(front, level, cube / row.n).with(other));
        }
    }
    ways
}

/// 1 / sqrt(v n / (n - 1) + eps).
pub(crate) fn sample_inverse(row: &Row) -> f64 {
    1.0 / (row.variance * row.n / (row.n - 1.0) + row.problem.epsilon).sqrt()
}

pub(crate) fn sample_variance(row: &Row) -> Vec<Line> {
    let sample = sample_inverse(row);
    let mut ways = with_deviation(row, sample);
    let more = row.n / (row.n - 1.0);
    let [own, level, slope] = row.factors(row.inverse);
    let [front, level_s, slope_s] = row.factors(sample);
    // The derivative of the sample variance itself; then n - 1 in the backward pass alone; then in both means.
    for (front, level, slope) in [
        (front, level_s, slope_s * more),
        (front, level_s, slope * more),
        (own, level, slope * more),
        (own, level * more, slope),
        (own, level * more, slope * more),
        (front, level_s * more, slope_s * more),
    ] {
        ways.push(row.line(front, level, slope).with(sample));
    }
    ways
}

pub(crate) fn sums_for_means(row: &Row) -> Vec<Line> {
    let [own, level, slope] = row.factors(row.inverse);
    let n = row.n;
    let mut ways = vec![row.line(own, level, slope * n)];
    if row.has_mean_term() {
        ways.push(row.line(own, level * n, slope));
        ways.push(row.line(own, level * n, slope * n));
    }
    ways
}

pub(crate) fn values_a_parameter(row: &Row) -> f64 {
    if row.weights.is_some() { row.n } else { row.problem.values_a_parameter() as f64 }
}

/// What a sum may have been divided by: all values, samples, or positions.
pub(crate) fn means(row: &Row) -> impl Iterator<Item = f64> {
    let [samples, positions] = row.problem.samples_and_positions().map(|n| n as f64);
    [values_a_parameter(row), samples, positions].into_iter().map(|n| if n == 1.0 { f64::NAN } else { n })
}

/// 1/N or 1/P in place of 1/(N P).
pub(crate) fn wrong_count(row: &Row) -> Vec<Line> {
    let [own, level, slope] = row.factors(row.inverse);
    let mut ways = Vec::new();
    for count in row.problem.samples_and_positions() {
        let more = row.n / count as f64;
        ways.push(row.line(own, level, slope * more));
        ways.push(row.line(own, level * more, slope));
        ways.push(row.line(own, level * more, slope * more));
        // 1/N (N P dy - sum(dy) - xhat sum(dy xhat)), and 1/(N P) (N dy - ...).
        ways.push(row.right().times(more));
        ways.push(row.line(own / more, level, slope));
        ways.push(row.right().times(1.0 / more));
    }
    ways
}

/// gamma^power in place of gamma in some of the terms or all.
pub(crate) fn by_powers_of_gamma(row: &Row, power: usize) -> Vec<Line> {
    let [own, level, slope] = row.factors(row.inverse);
    let mut ways = Vec::new();
    // A term that the right dx does not have cannot have a wrong gamma.
    let absent = [false, !row.has_mean_term(), !row.has_variance_term()];
    let possible = |wrong: &usize| (0..3).all(|term| wrong >> term & 1 == 0 || !absent[term]);
    for wrong in (1..8usize).filter(possible) {
        let power = |term: usize| if wrong >> term & 1 == 1 { power } else { 1 };
        let mut line = row.line(0.0, 0.0, 0.0);
        line.size = row.size([power(0), power(1), power(2)], [own, level, slope]);
        line.own[power(0)] = own;
        line.level[0] = -level * row.sums[power(1)];
        line.slope[0] = -slope * row.products[power(2)];
        ways.push(line);
        // Behind the sum rather than in it; the same where gamma is one number.
        if row.gamma.len() > 1 {
            line.level = [0.0; 2];
            line.slope = [0.0; 2];
            let (inner, outer) = if power(1) == 0 { (0, 0) } else { (1, power(1) - 1) };
            line.level[outer] = -level * row.sums[inner];
            let (inner, outer) = if power(2) == 0 { (0, 0) } else { (1, power(2) - 1) };
            line.slope[outer] = -slope * row.products[inner];
            ways.push(line);
        }
    }
    ways
}

/// gamma_i r (dy_i - mean(dy) - xhat_i mean(dy xhat)).
pub(crate) fn gamma_behind(row: &Row) -> Line {
    let [own, level, slope] = row.factors(row.inverse);
    let size = row.sizes.gamma * row.size([0, 0, 0], [own, level, slope]);
    let line = Line { size, ..row.line(own, 0.0, 0.0) };
    Line { level: [0.0, -level * row.sums[0]], slope: [0.0, -slope * row.products[0]], ..line }
}

pub(crate) fn wrong_signs(row: &Row) -> Vec<Line> {
    let [own, level, slope] = row.factors(row.inverse);
    let mut ways = vec![row.right().times(-1.0)];
    if row.has_variance_term() {
        ways.extend([row.line(own, level, -slope), row.line(-own, level, slope)]);
    }
    if row.has_mean_term() {
        ways.extend([row.line(own, -level, slope), row.line(own, -level, -slope)]);
        ways.extend([row.line(-own, -level, slope), row.line(-own, level, -slope)]);
    }
    ways
}

/// 1 / sqrt(mean(x^2) + eps).
pub(crate) fn rms_inverse(row: &Row) -> f64 {
    1.0 / (row.own.variance + row.own.mean.0 * row.own.mean.0 + row.problem.epsilon).sqrt()
}

/// x for x - mean, in the sum, as a factor, or both; with and without the mean term; and RMS norm.
pub(crate) fn uncentred(row: &Row) -> Vec<Line> {
    if !row.has_variance_term() {
        return Vec::new();
    }
    let [own, level, slope] = row.factors(row.inverse);
    let (m, by_c) = (row.mean, row.products[1]);
    let (by_x, size) = row.product_about(m);
    let mut ways = Vec::new();
    for level in [level, 0.0] {
        let line = row.line(own, level, 0.0);
        ways.push(line.less(slope * by_x, 0.0, slope * size));
        ways.push(line.less(slope * by_c, m, slope * size));
        ways.push(line.less(slope * by_x, m, slope * size));
        let root = rms_inverse(row);
        let slope = root * root * root / row.n;
        let line = row.line(root, if level == 0.0 { 0.0 } else { root / row.n }, 0.0);
        ways.push(line.less(slope * by_x, m, slope * size));
    }
    ways
}

/// The formula of training in evaluation: by the constants, or by mean and variance of the batch.
pub(crate) fn training_in_evaluation(row: &Row) -> Vec<Line> {
    let n = row.len();
    let r = row.inverse;
    let own = row.own_inverse();
    // The products about the batch's mean, and x - mean in terms of x - constant.
    let between = row.mean - row.own.mean.0;
    let (product, size) = row.product_about(between);
    let [slope, about] = [own, r].map(|inverse| inverse * inverse * inverse / n);
    let by_batch = row.line(own, own / n, 0.0).less(slope * product, between, slope * size);
    let about_batch = row.line(r, r / n, 0.0).less(about * product, between, about * size);
    vec![
        row.line(r, r / n, r * r * r / n),
        row.line(r, r / n, 0.0),
        row.line(r, 0.0, r * r * r / n),
        by_batch.with(own),
        about_batch,
        row.line(own, 0.0, 0.0).with(own),
    ]
}

/// Statistics of all values, and all of them alike; or those of the weights, with 1/n in the terms.
pub(crate) fn weights_ignored(row: &Row) -> Vec<Line> {
    let n = row.len();
    let own = row.own_inverse();
    let all = |of: &dyn Fn(usize) -> f64| (0..row.x.len()).map(of).sum::<f64>();
    let g = |i: usize| row.gamma_of(i) * row.dy[i];
    let between = row.mean - row.own.mean.0;
    let product = all(&|i| g(i) * (row.centered[i] + between));
    let (level, slope) = (own / n * all(&g), own * own * own / n * product);
    let unweighted = |line: Line| Line { weighted: false, ..line };
    let size = own * own * own / n * row.product_about(between).1;
    let mut plain = unweighted(row.line(own, own / n, 0.0)).less(slope, between, size);
    plain.level[0] = -level - slope * between;
    let [front, ..] = row.factors(row.inverse);
    let counted = |n: f64| {
        let cube = row.inverse * row.inverse * row.inverse;
        unweighted(row.line(front, front / n, cube / n))
    };
    vec![plain.with(own), counted(n), counted(row.n)]
}

/// 1 / sqrt(v + another eps).
pub(crate) fn other_deviations(row: &Row) -> impl Iterator<Item = f64> {
    let (variance, own) = (row.variance, row.problem.epsilon);
    let usual = [1e-3, 1e-4, 5e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 2.0 * own, -own];
    usual.into_iter().map(move |other| if other == own { f64::NAN } else { 1.0 / (variance + other).sqrt() })
}
