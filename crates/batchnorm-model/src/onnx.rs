//! Models of ONNX, as views of their files; and new ones, to be written.

mod change;
mod check;
mod constant;
mod message;
mod new;
mod norm;
mod read;
mod shape;
mod tensor;
mod uses;

pub use check::GraphError;
#[cfg(feature = "engine")]
pub(crate) use check::order;
pub use constant::{Constant, ConstantError, Constants};
pub use message::{Attribute, AttributeValue, Function, Graph, Model, Node, Tensor, Text, Value, Values};
pub use new::{NewAttribute, NewFunction, NewGraph, NewLength, NewModel, NewNode, NewTensor, NewValue, NewValues};
pub use norm::BatchNorm;
pub use read::ReadError;
pub(crate) use shape::{Length, Shapes};
pub(crate) use tensor::values_of;
pub use tensor::{Elsewhere, TensorError, element_of};
pub use uses::{User, Uses};
