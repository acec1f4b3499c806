//! How far a given dgamma or dbeta is from the right sums and from those of each mistake.

use crate::arithmetic::ByArithmetic;
use crate::decision::{Fit, Fits};
use crate::mistakes::{Mistake, UNCORRECTED};
use crate::rounding::{Allowance, Derived, Seen};
use crate::row::{Multiplier, Row};
use crate::score::part;
use crate::wrong_order::is_permuted;
use batchnorm_reference::number::DoubleDouble;

/// One of the two parameter gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Which {
    Gamma,
    Beta,
}

impl Which {
    /// The multiplier of the right sum: sum(dy (x - m) r), of batch renormalisation sum(dy (r xhat + d)), or sum(dy).
    fn right(self, row: &Row) -> Multiplier {
        match self {
            Which::Gamma => Multiplier { slope: row.r() * row.inverse, level: row.d(), power: 0 },
            Which::Beta => Multiplier { slope: 0.0, level: 1.0, power: 0 },
        }
    }

    /// The multipliers that a mistake may have in place of the right one.
    fn wrong(self, mistake: &Mistake, row: &Row) -> Vec<Multiplier> {
        let mut wrong = match self {
            Which::Gamma => (mistake.dgamma)(row),
            Which::Beta => (mistake.dbeta)(row),
        };
        // What is done wrong with batch norm's xhat may be done with r xhat + d.
        if row.correction.is_some() && *mistake != UNCORRECTED {
            let corrected = |multiplier: &Multiplier| {
                let Multiplier { slope, level, power } = *multiplier;
                let r = if slope == 0.0 { 1.0 } else { row.r() };
                Multiplier { slope: r * slope, level: r * level + row.d() * part(slope, row.inverse), power }
            };
            wrong.extend(wrong.iter().map(corrected).collect::<Vec<Multiplier>>());
        }
        wrong
    }
}

/// Above so many parameters the first ones alone are compared with the mistakes, for memory's sake.
const MAX_COMPARED: usize = 1 << 17;

/// The sums of dgamma or dbeta, right and by each mistake, added up row after row.
pub(crate) struct Sums {
    which: Which,
    mistakes: Vec<&'static Mistake>,
    right: Vec<DoubleDouble>,
    /// sum|dy xhat| or sum|dy| of each parameter.
    pub terms: Vec<f64>,
    allowed: Allowed,
    variants: Vec<Variant>,
}

/// The allowed absolute errors: for each precision, of each parameter.
type Allowed = Vec<Vec<ByArithmetic<f64>>>;

/// The sums of one variant of a mistake, and their allowed errors, as of the right ones.
struct Variant {
    mistake: &'static Mistake,
    sums: Vec<f64>,
    allowed: Allowed,
}

/// Absolute terms of a row that belong to one parameter, added up.
#[derive(Debug, Clone, Copy, Default)]
struct AbsoluteSums {
    /// sum|dy (x - m)|.
    products: f64,
    /// sum|dy|.
    dy: f64,
}

impl Sums {
    pub fn new(which: Which, parameters: usize, precisions: usize, mistakes: &[&'static Mistake]) -> Sums {
        Sums {
            which,
            mistakes: mistakes.to_vec(),
            right: vec![DoubleDouble::default(); parameters],
            terms: vec![0.0; parameters],
            allowed: vec![vec![ByArithmetic::default(); parameters]; precisions],
            variants: Vec::new(),
        }
    }

    /// The largest of the right sums, or a small part of their terms.
    pub fn largest(&self) -> f64 {
        let sums = (0..self.right.len()).map(|parameter| self.right(parameter).abs());
        let terms = self.terms.iter().map(|terms| 1e-3 * terms);
        sums.chain(terms).fold(0.0, f64::max)
    }

    /// Adds a row, with what is allowed of it in each precision.
    pub fn add(&mut self, row: &Row, allowances: &[ByArithmetic<Allowance>]) {
        let absolute = self.add_right(row);
        self.add_allowed(row, &absolute, allowances);
        self.add_variants(row, &absolute, allowances);
    }

    /// Adds a row to the right sums. Returns the sums of its absolute terms for each of its parameters.
    fn add_right(&mut self, row: &Row) -> Vec<AbsoluteSums> {
        let first = row.problem.first_parameter(row.number);
        let mut absolute = vec![AbsoluteSums::default(); row.gamma.len()];
        for i in (0..row.x.len()).filter(|&i| row.counts(i)) {
            let parameter = i / row.positions;
            let term = match self.which {
                Which::Gamma => {
                    let scaled = DoubleDouble::from(row.inverse) * DoubleDouble::from(row.r());
                    let product = DoubleDouble::product(row.dy[i], row.centered[i]) * scaled;
                    if row.d() == 0.0 { product } else { product + DoubleDouble::product(row.dy[i], row.d()) }
                }
                Which::Beta => DoubleDouble::from(row.dy[i]),
            };
            self.right[first + parameter] = self.right[first + parameter] + term;
            absolute[parameter].products += (row.dy[i] * row.centered[i]).abs();
            absolute[parameter].dy += row.dy[i].abs();
        }
        absolute
    }

    /// Adds what a row's rounding may change in the right sums, and the absolute terms by which errors are measured.
    fn add_allowed(&mut self, row: &Row, absolute: &[AbsoluteSums], allowances: &[ByArithmetic<Allowance>]) {
        let right = self.which.right(row);
        for (parameter, absolute) in (row.problem.first_parameter(row.number)..).zip(absolute) {
            self.terms[parameter] += match self.which {
                Which::Gamma => absolute.products * (row.r() * row.inverse) + absolute.dy * row.d().abs(),
                Which::Beta => absolute.dy,
            };
            for (allowance, allowed) in allowances.iter().zip(&mut self.allowed) {
                allowed[parameter] += allowed_of_row(self.which, row, &right, absolute, allowance);
            }
        }
    }

    /// Adds a row to the sums of each variant of each mistake. Every row has the same variants in the same order.
    fn add_variants(&mut self, row: &Row, absolute: &[AbsoluteSums], allowances: &[ByArithmetic<Allowance>]) {
        let Sums { which, mistakes, right, variants, .. } = self;
        let compared = right.len().min(MAX_COMPARED);
        let each = |&mistake| which.wrong(mistake, row).into_iter().map(move |multiplier| (mistake, multiplier));
        for (number, (mistake, multiplier)) in mistakes.iter().flat_map(each).enumerate() {
            if number == variants.len() {
                let allowed = vec![vec![ByArithmetic::default(); compared]; allowances.len()];
                variants.push(Variant { mistake, sums: vec![0.0; compared], allowed });
            }
            variants[number].add(*which, row, &multiplier, absolute, allowances);
        }
    }

    /// The right sum of a parameter.
    pub fn right(&self, parameter: usize) -> f64 {
        self.right[parameter].to_f64()
    }

    /// Whether values are the right ones, of this size, in another order.
    pub fn are_permuted(&self, given: &[f64], size: f64) -> bool {
        let allowed = (0..given.len()).map(|parameter| self.plain(parameter));
        let right = (0..given.len()).map(|parameter| self.right(parameter)).collect();
        is_permuted(given, right, allowed.fold(0.0, f64::max), size)
    }

    /// The error that plain arithmetic may make, absolute.
    pub fn plain(&self, parameter: usize) -> f64 {
        self.allowed[0][parameter].plain
    }

    /// The fits of a given value. `largest` is that of all right sums, computed once.
    pub fn score(&self, parameter: usize, given: f64, largest: f64) -> Fits {
        let terms = self.terms[parameter];
        let fit = |error: f64, allowed: &Allowed| {
            let ratios = allowed.iter().map(|allowed| allowed[parameter].map(|allowed| error / allowed));
            Fit::new(ratios.collect(), part(error, terms))
        };
        let error = (DoubleDouble::from(given) - self.right[parameter]).to_f64().abs();
        let variants = self.variants.iter().filter(|variant| parameter < variant.sums.len());
        let variants =
            variants.map(|variant| (variant.mistake, fit((given - variant.sums[parameter]).abs(), &variant.allowed)));
        Fits {
            right: fit(error, &self.allowed),
            variants: variants.collect(),
            one_number: self.which == Which::Gamma,
            size: part(given.abs().min(self.right(parameter).abs()), terms),
            lost: if self.plain(parameter).is_finite() { part(error, largest) } else { 0.0 },
        }
    }
}

impl Variant {
    /// Adds a row, with the multiplier that this variant has for it.
    fn add(
        &mut self,
        which: Which,
        row: &Row,
        multiplier: &Multiplier,
        absolute: &[AbsoluteSums],
        allowances: &[ByArithmetic<Allowance>],
    ) {
        let parameters = row.problem.first_parameter(row.number)..self.sums.len();
        for (number, (parameter, &gamma)) in parameters.zip(row.gamma).enumerate() {
            let factor = gamma.powi(multiplier.power);
            let values = (number * row.positions..(number + 1) * row.positions).filter(|&i| row.counts(i));
            let terms = values.map(|i| row.dy[i] * (multiplier.slope * row.centered[i] + multiplier.level));
            self.sums[parameter] += factor * terms.sum::<f64>();
            for (allowance, allowed) in allowances.iter().zip(&mut self.allowed) {
                let more = allowed_of_row(which, row, multiplier, &absolute[number], allowance);
                allowed[parameter] += more.map(|more| more * factor.abs());
            }
        }
    }
}

/// The allowed error of what a row adds to the sum of one parameter, by a multiplier that may be right or wrong.
fn allowed_of_row(
    which: Which,
    row: &Row,
    multiplier: &Multiplier,
    absolute: &AbsoluteSums,
    allowance: &ByArithmetic<Allowance>,
) -> ByArithmetic<f64> {
    let (slope, constant_terms) = (multiplier.slope.abs(), multiplier.level.abs() * absolute.dy);
    // A sum made with a larger inverse deviation has larger rounding errors.
    let larger = part(slope, row.r() * row.inverse).max(1.0);
    // The twin's sums are those of this row: where the parameter has other rows too, the derived bound stands alone.
    let twin_applies = row.gamma.len() == 1 && row.problem.values_a_parameter() == row.x.len();
    let seen = |seen: &Seen| match multiplier.slope {
        _ if !twin_applies => 0.0,
        0.0 => seen.dbeta * multiplier.level.abs(),
        _ => seen.dgamma * larger * larger,
    };
    allowance.map(|allowance| {
        // x - m and the deviation are both 0: no bound can be given.
        if allowance.undefined && which == Which::Gamma {
            return f64::INFINITY;
        }
        let Derived { scale, shift, sum, d, .. } = allowance.derived;
        let of_scale = scale * larger * (slope * absolute.products);
        let of_shift = if slope == 0.0 { 0.0 } else { shift * part(slope, row.inverse) * absolute.dy };
        let of_constant = if multiplier.slope == 0.0 { 0.0 } else { scale * larger * constant_terms };
        let of_level = sum * constant_terms + if which == Which::Gamma { d * absolute.dy } else { 0.0 };
        allowance.larger(of_scale + of_shift + of_constant + of_level, seen)
    })
}
