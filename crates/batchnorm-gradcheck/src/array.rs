//! Arrays as the judge sees them: in row-major order, each axis with its role.
//!
//! All of this is index arithmetic of its own, over what [`View`] gives to everybody: the judge shares none with the judged.

use crate::error::ProblemError;
use batchnorm::{AxisRole, CallError, Element, View, Weights};
use batchnorm_reference::whole::{Role, Rows, repeated, transposed};

/// Shape and roles of an array.
#[derive(Debug, Clone)]
pub(crate) struct Axes {
    pub shape: Vec<usize>,
    pub roles: Vec<Role>,
}

impl Axes {
    pub fn of<T: Element>(view: &View<T>) -> Axes {
        let role = |role: AxisRole| match role {
            AxisRole::Sample => Role::Sample,
            AxisRole::Channel => Role::Channel,
            AxisRole::Space => Role::Space,
        };
        Axes { shape: view.shape().to_vec(), roles: view.roles().into_iter().map(role).collect() }
    }

    /// Axes by what they mean: samples, then space, then channels, each in the order of the shape.
    fn logical(&self) -> Vec<usize> {
        let with = |role: Role| (0..self.roles.len()).filter(move |&axis| self.roles[axis] == role);
        with(Role::Sample).chain(with(Role::Space)).chain(with(Role::Channel)).collect()
    }

    /// Lengths of the axes by what they mean: what two arrays must share.
    fn logical_shape(&self) -> Vec<usize> {
        self.logical().into_iter().map(|axis| self.shape[axis]).collect()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The axis of the channels.
    pub fn channel_axis(&self) -> usize {
        self.roles.iter().position(|&role| role == Role::Channel).expect("every view has an axis of channels")
    }
}

/// Errors unless an array has one channel axis.
pub(crate) fn one_channel_axis<T: Element>(argument: &'static str, view: &View<T>) -> Result<(), ProblemError> {
    match view.channel_axes() {
        [_] => Ok(()),
        axes => Err(ProblemError::ChannelAxes { argument, axes: axes.to_vec(), shape: view.shape().to_vec() }),
    }
}

/// Errors unless an array has x's axes, wherever they stand.
pub(crate) fn same_shape(argument: &'static str, x: &Axes, other: &Axes) -> Result<(), CallError> {
    let (expected, got) = (x.logical_shape(), other.logical_shape());
    if expected == got {
        return Ok(());
    }
    // As the caller has them: in the order of the other's axes.
    let mut in_order = expected.clone();
    if expected.len() == got.len() {
        other.logical().into_iter().zip(&expected).for_each(|(axis, &length)| in_order[axis] = length);
    }
    Err(CallError::Shape { argument, expected: in_order, got: other.shape.clone() })
}

/// Values of an array of x's axes, row after row. Its axes may stand in another order than x's.
pub(crate) fn by_rows<T: Element>(view: &View<T>, x: &Axes, rows: &Rows) -> Vec<f64> {
    let given = Axes::of(view);
    let mut axes = vec![0; given.shape.len()];
    for (axis_of_x, axis) in x.logical().into_iter().zip(given.logical()) {
        axes[axis_of_x] = axis;
    }
    let values = view.to_vec();
    let in_order = axes.iter().copied().eq(0..axes.len());
    row_after_row(&if in_order { values } else { transposed(&values, &given.shape, &axes) }, rows)
}

/// Weights repeated to x's shape, row after row.
pub(crate) fn weights_by_rows<T: Element>(weights: &Weights<T>, x: &Axes, rows: &Rows) -> Vec<f64> {
    row_after_row(&repeated(weights.values(), weights.shape(), &x.shape), rows)
}

/// Errors unless weights can be repeated to x's shape.
pub(crate) fn check_weights<T: Element>(weights: &Weights<T>, x: &Axes) -> Result<(), CallError> {
    let (given, shape) = (weights.shape(), &x.shape);
    let fits = |(given, length): (&usize, &usize)| given == length || *given == 1;
    match given.len() == shape.len() && given.iter().zip(shape).all(fits) {
        true => Ok(()),
        false => Err(CallError::WeightsShape { expected: shape.clone(), got: given.to_vec() }),
    }
}

/// The values of an array in x's order of axes, row after row, as f64.
fn row_after_row<T: Element>(values: &[T], rows: &Rows) -> Vec<f64> {
    (0..rows.count()).flat_map(|row| rows.gather(row, values)).map(|value| value.to_f64()).collect()
}
