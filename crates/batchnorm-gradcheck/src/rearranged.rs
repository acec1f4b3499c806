//! Problems whose values stand elsewhere, or whose axes mean something else.

use crate::array::Axes;
use crate::mistakes::{Mistake, mistake};
use crate::problem::{Kind, Problem};
use batchnorm_reference::whole::{Role, Rows, Together, transposed};

/// The mistakes of arrangement.
///
/// ```
/// let names: Vec<&str> = batchnorm_gradcheck::ARRANGEMENTS.iter().map(|mistake| mistake.name).collect();
/// assert_eq!(names, ["another axis", "reshape without a transposition", "samples in another order"]);
/// ```
pub static ARRANGEMENTS: &[Mistake] = &[
    mistake(
        "another axis",
        "the formulas are right, but another axis was taken for that of the parameters",
        "normalise with the axis of gamma and beta for the channels (or last): axis 1 of NCHW, the last one of NHWC",
    ),
    mistake(
        "reshape without a transposition",
        "the formulas are right, but the memory was read as if its axes stood in another order",
        "move the axis first (transpose, permute, moveaxis), then reshape; and on the way back reshape, then move it back",
    ),
    mistake(
        "samples in another order",
        "the formulas are right, but x, dy or dx has its samples in another order than the others",
        "save x, dy and dx of one and the same batch, in one order; look for a shuffle, a sort, or arrays of two steps",
    ),
];
pub(crate) const AXIS: &Mistake = &ARRANGEMENTS[0];
pub(crate) const RESHAPE: &Mistake = &ARRANGEMENTS[1];
pub(crate) const SAMPLES: &Mistake = &ARRANGEMENTS[2];

/// A problem's values in other places.
pub(crate) struct Rearranged {
    pub mistake: &'static Mistake,
    pub problem: Problem,
    /// For each place of the rearranged array its place in the array.
    pub from: Vec<usize>,
}

impl Problem {
    /// Values that stand row after row, in the order of the array.
    pub(crate) fn in_memory(&self, values: &[f64]) -> Vec<f64> {
        let mut memory = vec![0.0; values.len()];
        let places = (0..self.rows.count()).flat_map(|row| self.rows.places(row));
        places.zip(values).for_each(|(place, value)| memory[place] = *value);
        memory
    }

    /// The same formulas over other rows, with values in the order of the array; `None` where gamma or the statistics do not
    /// fit it.
    pub(crate) fn with_rows(
        &self,
        shape: &[usize],
        roles: &[Role],
        together: Together,
        arrays: [&[f64]; 2],
        weights: Option<&[f64]>,
    ) -> Option<Problem> {
        // r and d are those of the channels as they are.
        if self.corrections.is_some() {
            return None;
        }
        let channels = roles.iter().position(|&role| role == Role::Channel).map_or(1, |axis| shape[axis]);
        if matches!(together, Together::Groups(groups) if !channels.is_multiple_of(groups)) {
            return None;
        }
        let rows = Rows::new(shape, roles, together);
        if rows.values() < 2 {
            return None;
        }
        let gamma = match &self.gamma[..] {
            gamma if gamma.len() == rows.parameters() => gamma.to_vec(),
            [first, rest @ ..]
                if rest.iter().all(|gamma| gamma == first) && !matches!(self.kind, Kind::Constants { .. }) =>
            {
                vec![*first; rows.parameters()]
            }
            _ => return None,
        };
        let gathered =
            |values: &[f64]| (0..rows.count()).flat_map(|row| rows.gather(row, values)).collect::<Vec<f64>>();
        let [x, dy] = arrays.map(gathered);
        Some(Problem {
            axes: Axes { shape: shape.to_vec(), roles: roles.to_vec() },
            kind: self.kind.clone(),
            x,
            dy,
            weights: weights.map(gathered),
            rows,
            gamma,
            epsilon: self.epsilon,
            corrections: None,
            narrow_input: self.narrow_input,
            half_input: self.half_input,
        })
    }
}

/// Shapes and roles that the axes, or the memory, may have been taken for, with the places of their values.
pub(crate) fn candidates(problem: &Problem) -> impl Iterator<Item = Rearranged> + '_ {
    let [x, dy] = [&problem.x, &problem.dy].map(|values| problem.in_memory(values));
    let weights = problem.weights.as_ref().map(|weights| problem.in_memory(weights));
    layouts(problem).into_iter().filter_map(move |(mistake, shape, roles, from)| {
        let moved = |values: &[f64]| from.iter().map(|&place| values[place]).collect::<Vec<f64>>();
        let together = match problem.rows.together() {
            Together::LastAxes(_) => Together::LastAxes(1),
            together => together,
        };
        let weights = weights.as_ref().map(|weights| moved(weights));
        let arrays = [&moved(&x)[..], &moved(&dy)];
        let problem = problem.with_rows(&shape, &roles, together, arrays, weights.as_deref())?;
        Some(Rearranged { mistake, problem, from })
    })
}

pub(crate) type Layout = (&'static Mistake, Vec<usize>, Vec<Role>, Vec<usize>);

/// The other layouts that an array of this shape is taken for.
pub(crate) fn layouts(problem: &Problem) -> Vec<Layout> {
    let (shape, roles) = (&problem.axes.shape, &problem.axes.roles);
    let (rank, len) = (shape.len(), problem.axes.len());
    let in_place = || (0..len).collect::<Vec<usize>>();
    let product = |axes: &[usize]| axes.iter().product::<usize>();
    let mut all: Vec<Layout> = Vec::new();
    let (samples, positions) = (problem.rows.samples(), problem.rows.positions());
    match problem.rows.together() {
        Together::LastAxes(axes) => {
            for axis in 0..(if axes == 1 { rank - 1 } else { 0 }) {
                let order: Vec<usize> = (0..rank)
                    .map(|at| {
                        if at == axis {
                            rank - 1
                        } else if at == rank - 1 {
                            axis
                        } else {
                            at
                        }
                    })
                    .collect();
                let swapped = order.iter().map(|&axis| shape[axis]).collect();
                all.push((AXIS, swapped, Role::around(1, rank), transposed(&in_place(), shape, &order)));
            }
            let elements = product(&shape[rank - axes..]);
            for at in 0..rank - axes {
                let inner = product(&shape[at..rank - axes]);
                let lying = [len / elements / inner, elements, inner];
                all.push((
                    RESHAPE,
                    vec![lying[0], inner, elements],
                    Role::around(1, 3),
                    transposed(&in_place(), &lying, &[0, 2, 1]),
                ));
            }
        }
        together => {
            let axis = problem.axes.channel_axis();
            for other in (0..rank).filter(|&other| other != axis) {
                let mut swapped = roles.clone();
                swapped.swap(axis, other);
                all.push((AXIS, shape.clone(), swapped, in_place()));
            }
            let channels = shape[axis];
            if together == Together::Channel {
                let others: Vec<usize> = (0..rank).filter(|&other| other != axis).map(|other| shape[other]).collect();
                let mut inner: Vec<usize> =
                    (0..rank).flat_map(|at| [product(&others[..at]), product(&others[at..])]).collect();
                inner.sort_unstable();
                inner.dedup();
                let layout = |inner: usize| {
                    (RESHAPE, vec![len / channels / inner, channels, inner], Role::around(1, 3), in_place())
                };
                all.extend(inner.into_iter().filter(|&inner| inner != product(&shape[axis + 1..])).map(layout));
            } else {
                all.push((RESHAPE, vec![samples, channels, positions], Role::around(1, 3), in_place()));
                all.push((RESHAPE, vec![samples, positions, channels], Role::around(2, 3), in_place()));
            }
        }
    }
    all
}
