//! batchnorm-lab
