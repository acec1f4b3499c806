//! Files of named tensors without a graph: safetensors, one file or several, and PyTorch's; and new ones, to be written.

#[cfg(feature = "pth")]
mod archive;
#[cfg(feature = "read")]
mod named;
#[cfg(feature = "pth")]
mod pickle;
#[cfg(feature = "pth")]
mod pth;
#[cfg(feature = "read")]
mod safetensors;
#[cfg(feature = "read")]
mod shards;
mod written;

#[cfg(feature = "read")]
pub use self::named::{Element, Named, Weights};
#[cfg(feature = "pth")]
pub use self::pth::{PthError, read as read_pth};
#[cfg(feature = "read")]
pub use self::safetensors::{
    HeaderError, SafetensorsError, read as read_safetensors, read_header, write as write_safetensors,
};
#[cfg(feature = "read")]
pub use self::shards::{ShardsError, read as read_shards};
pub use self::written::NewWeights;
