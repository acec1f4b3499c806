//! Conformance cases of batch normalisation: what goes wrong, as named cases with inputs, expected values and bounds, and
//! a runner that judges an implementation by them.
//!
//! In the order in which data flows:
//!
//! 1. [`catalogue`] names the cases; [`recipe`] makes their values of a [`kinds::Element`] type: from nothing but whole
//!    numbers and additions.
//! 2. `truth` computes what is expected, in double-double arithmetic over `batchnorm::reference`, and what errors are
//!    measured by.
//! 3. [`store`] writes cases as `index.json` and one `.npz` file each, and reads them: the format is in the README.
//! 4. [`judge`](mod@judge) has an [`Implementation`](judge::Implementation) solve a [`Case`](case::Case) and compares.
//!    [`ours`] is our own layer as one.
//! 5. [`report`] makes tables of verdicts.
//!
//! ```
//! use batchnorm_conformance::case::Problem;
//! use batchnorm_conformance::judge::{Answer, Outcome, Outputs, judge};
//! use batchnorm_conformance::{ours::Ours, store};
//!
//! let cases = store::read(store::folder())?;
//! let case = cases.iter().find(|case| case.name == "by-hand-two-values").expect("it is there");
//! assert_eq!(judge(case, &Ours).outcome, Outcome::Passed);
//!
//! // Any function of a problem is an implementation; this one passes x on.
//! let identity = |problem: &Problem| {
//!     Answer::Outputs(Outputs::from([("y".to_string(), problem.inputs["x"].to_f64())]))
//! };
//! assert!(matches!(judge(case, &identity).outcome, Outcome::Failed(_)));
//! # Ok::<(), store::StoreError>(())
//! ```

pub mod array;
pub mod case;
pub mod catalogue;
mod draft;
pub mod judge;
pub mod kinds;
pub mod ours;
pub mod recipe;
pub mod report;
pub mod store;
mod truth;
