//! A layer as one of several that normalise one batch together.

use std::fmt;
use std::sync::Arc;

use batchnorm::Collective;

/// How a layer exchanges its sums with the others: any [`Collective`], such as a member of a [`Team`](batchnorm::Team).
///
/// One collective serves all layers of a replica, which ask it one after the other.
#[derive(Clone)]
pub struct Participant(Arc<dyn Collective + Send + Sync>);

impl Participant {
    /// Around a collective.
    pub fn new(collective: impl Collective + Send + Sync + 'static) -> Self {
        Participant(Arc::new(collective))
    }

    pub(crate) fn collective(&self) -> &dyn Collective {
        &*self.0
    }
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Participant")
    }
}
