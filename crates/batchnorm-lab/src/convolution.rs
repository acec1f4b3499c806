//! Convolutions, as fast as a product of matrices: patches of the image are laid out beside each other, and multiplied with the kernels.
//!
//! Burn's own CPU backend takes the gradient of the kernels as a convolution whose kernels are whole planes (docs/speed.md has what that
//! costs). Here it is a product like the others. The products are those of the crate `gemm`, which
//! Burn's backend uses too.
//!
//! ```text
//! y[n, o, i, j]           =  bias[o] + sum over c, a, b of  weight[o, c, a, b] x[n, c, i s + a - p, j s + b - p]
//! d weight[o, c, a, b]    =  sum over n, i, j of  dy[n, o, i, j] x[n, c, i s + a - p, j s + b - p]
//! d x[n, c, r, q]         =  sum over o and all i, a, j, b with i s + a - p = r, j s + b - p = q of  dy[n, o, i, j] weight[o, c, a, b]
//! ```
//!
//! with strides s and paddings p, and x zero outside. Bits do not depend on the number of threads.

mod extension;
mod geometry;
mod passes;
mod product;
#[cfg(test)]
mod tests;

pub(crate) use extension::convolve;
