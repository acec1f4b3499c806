//! batchnorm-burn
