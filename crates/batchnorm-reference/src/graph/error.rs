//! Why there is no graph, or no backward pass.

use std::fmt;

/// Arrays that do not fit the values of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// Another number of values than there are elements that have one each.
    ElementLength {
        /// The argument's name.
        argument: &'static str,
        /// Number of elements.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
}

impl GraphError {
    /// Errors unless there is one value for each element.
    pub(super) fn unless_one_each<R>(argument: &'static str, expected: usize, values: &[R]) -> Result<(), GraphError> {
        match values.len() {
            got if got == expected => Ok(()),
            got => Err(GraphError::ElementLength { argument, expected, got }),
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GraphError::ElementLength { argument, expected, got } = self;
        write!(f, "{argument}: expected {expected} values, one for each element of [{expected}], got {got}")
    }
}

impl std::error::Error for GraphError {}
