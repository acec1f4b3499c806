//! Limits of what is checked: sizes of arrays and of numbers, and the number of values differentiated one by one.

/// Arrays of more values are refused: twin and kernels run some hundred times over them.
pub const MAX_CHECKED: usize = 1 << 20;
/// At most so many values of each gradient are differentiated one by one; of more than that, some are drawn.
pub const MAX_DIFFERENTIATED: usize = 64;
/// Each such value costs passes over the whole array: so many values in all are passed over.
const VALUES_PASSED_OVER: usize = 1 << 23;

/// Number of values of each gradient that are differentiated one by one, in an array of `len` values.
pub fn differentiated(len: usize) -> usize {
    (VALUES_PASSED_OVER / len).clamp(MAX_DIFFERENTIATED / 8, MAX_DIFFERENTIATED)
}

/// Within this distance of an activation's kink no value gets a gradient: steps of differences would cross it.
pub const KINK: f64 = 0.02;
/// Sizes of numbers that are checked, but for 0.
pub const RANGE: [f64; 2] = [1e-30, 1e30];
