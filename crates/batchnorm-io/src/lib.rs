//! Files in and out, for the crates above the arithmetic.
//!
//! A run reads arrays, computes, and leaves files behind. In that order:
//!
//! 1. [`npy`] reads one NumPy array, of floats or whole numbers, with memory bounded by the size
//!    of the file whatever its header claims, and names the defect when it can not;
//!    [`table`] reads a table of numbers as text as strictly, and names line and column;
//! 2. [`npy::write()`] turns a slice into the bytes `np.save` would write; [`npz`] does both for several arrays in one
//!    file;
//! 3. [`picture`] reads a PNG or JPEG picture of any kind, with its size looked at first, and makes it another size;
//!    [`idx`] and [`cifar`] read data sets of pictures item by item, as they are published; [`whole`] reads any small file,
//!    [`beside`] one that another file names;
//! 4. [`events`] writes numbers and histograms for TensorBoard;
//! 5. [`atomic`] puts the bytes in place: [`atomic::write_file`] for one file, [`atomic::FileSet`] for
//!    the several files of one run, all of them or none.
//!
//! This crate knows no framework and nothing of batch normalization; it never prints and never
//! unpickles.
//!
//! ```
//! use batchnorm_io::{atomic::FileSet, npy};
//!
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path().join("run");
//! let mut files = FileSet::open(&out)?; // fails now, not after a long computation
//! files.file("y.npy", |f| npy::write(f, &[2, 3], &[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]))?;
//! files.absent("dx.npy")?; // an earlier run's gradient does not belong to this y
//! files.commit()?;
//!
//! let y = npy::read(&out.join("y.npy"))?;
//! assert_eq!(y.shape, [2, 3]);
//! assert_eq!(y.numbers.to_f64()[5], 5.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod atomic;
pub mod beside;
pub mod cifar;
pub mod events;
pub mod idx;
mod items;
pub mod npy;
pub mod npz;
pub mod picture;
pub mod table;
pub mod whole;

/// The example of `docs/situations/files.md`, compiled as a test.
#[cfg(doctest)]
mod situations {
    #[doc = include_str!("../../../docs/situations/files.md")]
    struct Files;
}
