//! Models of ONNX, as views of their files; and new ones, to be written.

#[cfg(feature = "read")]
mod change;
#[cfg(feature = "read")]
mod check;
#[cfg(feature = "read")]
mod constant;
mod element;
#[cfg(feature = "read")]
mod message;
mod new;
#[cfg(feature = "read")]
mod norm;
#[cfg(feature = "read")]
mod read;
#[cfg(feature = "read")]
mod shape;
#[cfg(feature = "read")]
mod tensor;
#[cfg(feature = "read")]
mod uses;

#[cfg(feature = "read")]
pub use check::GraphError;
#[cfg(feature = "engine")]
pub(crate) use check::order;
#[cfg(feature = "read")]
pub use constant::{Constant, ConstantError, Constants};
pub use element::element_of;
#[cfg(feature = "read")]
pub use message::{Attribute, AttributeValue, Function, Graph, Model, Node, Tensor, Text, Value, Values};
pub use new::{NewAttribute, NewFunction, NewGraph, NewLength, NewModel, NewNode, NewTensor, NewValue, NewValues};
#[cfg(feature = "read")]
pub use norm::BatchNorm;
#[cfg(feature = "read")]
pub use read::ReadError;
#[cfg(feature = "read")]
pub(crate) use shape::{Length, Shapes};
#[cfg(feature = "read")]
pub(crate) use tensor::values_of;
#[cfg(feature = "read")]
pub use tensor::{Elsewhere, TensorError};
#[cfg(feature = "read")]
pub use uses::{User, Uses};
