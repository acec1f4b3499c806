//! Numbers and checks that others published.

mod form;
mod published_checks;
mod recorded;
mod renormalization;
#[path = "../support/mod.rs"]
mod support;
