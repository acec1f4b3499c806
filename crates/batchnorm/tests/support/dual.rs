//! Dual numbers, the library's own: of dual numbers they give second derivatives.

pub use batchnorm::gradcheck::Dual;
