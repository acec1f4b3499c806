//! Files of named tensors without a graph: safetensors, one file or several, and PyTorch's.

#[cfg(feature = "pth")]
mod archive;
mod named;
#[cfg(feature = "pth")]
mod pickle;
#[cfg(feature = "pth")]
mod pth;
mod safetensors;
mod shards;

pub use self::named::{Element, Named, Weights};
#[cfg(feature = "pth")]
pub use self::pth::{PthError, read as read_pth};
pub use self::safetensors::{
    HeaderError, SafetensorsError, read as read_safetensors, read_header, write as write_safetensors,
};
pub use self::shards::{ShardsError, read as read_shards};
