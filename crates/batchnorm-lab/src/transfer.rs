//! Training that starts from another network's weights.

use serde::{Deserialize, Serialize};

use crate::network::Freeze;

/// Where a training's weights come from, and what of them stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The fingerprint of the network they come from.
    pub from: String,
    /// Its output layer.
    pub head: Head,
    /// What stays.
    pub freeze: Freeze,
}

/// The output layer of a network that starts from another one's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// New, with start weights from the seed.
    New,
    /// The other network's.
    Kept,
}
