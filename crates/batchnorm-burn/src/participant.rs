//! Layers that normalise one batch together.

use std::fmt;
use std::sync::Arc;

use batchnorm::Collective;

/// The means by which a layer exchanges its sums with the others: any [`Collective`], such as a member of a
/// [`Team`](batchnorm::Team).
///
/// One collective serves all layers of a replica, which ask it one after the other. Each replica runs on a thread of
/// its own and is made by [`fork`](burn::module::Module::fork): backward passes of models that are `clone`s share a
/// lock of Burn's (their graphs share parameters), so that one waits for the other, which it must not; the team's
/// patience ends that with a panic.
///
/// ```
/// use batchnorm::Team;
/// use batchnorm_burn::{BatchNormConfig, Participant};
/// use burn::module::Module;
/// use burn::tensor::{Device, Distribution, Tensor};
/// let device = Device::default().autodiff();
/// let norm = BatchNormConfig::new(3).init(&device);
/// std::thread::scope(|scope| {
///     for member in Team::of(2, std::time::Duration::from_secs(60)) {
///         let mut replica = norm.clone().fork(&device);
///         replica.participant = Some(Participant::new(member));
///         scope.spawn(move || {
///             let x = Tensor::<2>::random([4, 3], Distribution::Default, &replica.gamma.device());
///             replica.forward(x).powi_scalar(3).sum().backward(); // by the batch of 8
///         });
///     }
/// });
/// ```
#[derive(Clone)]
pub struct Participant(Arc<dyn Collective + Send + Sync>);

impl Participant {
    /// A participant that exchanges its sums by a collective.
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
