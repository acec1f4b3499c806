//! Convolution as an operation in Burn's graph.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Element, Shape, Tensor, TensorData};

use super::geometry::Geometry;
use super::passes;
use super::product::Real;

/// A backend that has convolution.
#[backend_extension(Flex, Autodiff)]
pub trait ConvolutionBackend: Backend {
    /// The convolution of x with kernels; the bias counts if the call has one, else it is any tensor.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self>;
}

/// What a convolution is besides its tensors.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    geometry: Geometry,
    biased: bool,
}

/// The output of Burn's layer for images `[examples, channels, rows, columns]`, all f32 or all f64.
///
/// # Panics
/// If the layer has groups, dilation or another padding than the same number on both sides, or a kernel larger than the padded image: networks
/// here have none.
pub fn convolve(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let [outputs, channels, rows, columns] = layer.weight.dims();
    let padding = match layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) if top == bottom && left == right => [top, left],
        ref other => unimplemented!("a convolution padded by {other:?}"),
    };
    assert!(layer.groups == 1 && layer.dilation == [1, 1], "a convolution with groups or dilation");
    let [_, _, height, width] = x.dims();
    let geometry =
        Geometry { channels, image: [height, width], outputs, kernel: [rows, columns], stride: layer.stride, padding };
    assert!(geometry.output_plane() > 0, "a kernel of {rows} x {columns} on an image of {height} x {width}");
    let call = Call { geometry, biased: layer.bias.is_some() };
    let weight = layer.weight.val();
    let bias = layer.bias.as_ref().map_or_else(|| Tensor::zeros([1], (&x.device(), x.dtype())), |bias| bias.val());
    let y = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch(), call);
    Tensor::from_dispatch(y)
}

/// Numbers of Burn's tensors that convolutions are computed in.
trait Native: Real + Element {
    /// The whole memory block in which a tensor lies.
    fn storage(tensor: &FlexTensor) -> &[Self];
}

impl Native for f32 {
    fn storage(tensor: &FlexTensor) -> &[f32] {
        tensor.storage()
    }
}

impl Native for f64 {
    fn storage(tensor: &FlexTensor) -> &[f64] {
        tensor.storage()
    }
}

/// The values of a contiguous tensor.
fn values<T: Native>(tensor: &FlexTensor) -> &[T] {
    &T::storage(tensor)[tensor.layout().start_offset()..][..tensor.shape().num_elements()]
}

/// A tensor around a buffer, without copying.
fn tensor<T: Element>(values: Vec<T>, lengths: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(lengths.to_vec())))
}

fn forward_in<T: Native>([x, weight, bias]: [&FlexTensor; 3], call: Call) -> FlexTensor {
    let Call { geometry, biased } = call;
    let [x, weight, bias] = [x, weight, bias].map(FlexTensor::to_contiguous);
    let bias = if biased { values::<T>(&bias) } else { &[] };
    let y = passes::forward(&geometry, values::<T>(&x), values(&weight), bias);
    let [rows, columns] = geometry.output();
    tensor(y, &[x.shape()[0], geometry.outputs, rows, columns])
}

fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, call: Call) -> FlexTensor {
    match x.dtype() {
        DType::F64 => forward_in::<f64>([x, weight, bias], call),
        _ => forward_in::<f32>([x, weight, bias], call),
    }
}

impl ConvolutionBackend for Flex {
    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, call: Call) -> FlexTensor {
        forward(&x, &weight, &bias, call)
    }
}

/// The backward step of input, kernels and bias.
#[derive(Debug)]
struct Step;

/// What it needs: the nodes of input and kernels, whose values the graph keeps.
#[derive(Debug, Clone)]
struct State {
    x: NodeId,
    weight: NodeId,
    call: Call,
}

/// The gradients of input, kernels and bias that someone asks for.
fn backward<T: Native>(
    geometry: &Geometry,
    [x, weight]: [FlexTensor; 2],
    dy: &FlexTensor,
    required: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let [x, weight, dy] = [&x, &weight, dy].map(FlexTensor::to_contiguous);
    let (x_values, weight_values, dy) = (values::<T>(&x), values::<T>(&weight), values::<T>(&dy));
    [
        required[0].then(|| tensor(passes::input_gradient(geometry, dy, weight_values), &x.shape())),
        required[1].then(|| tensor(passes::weight_gradient(geometry, x_values, dy), &weight.shape())),
        required[2].then(|| tensor(passes::bias_gradient(geometry, dy), &[geometry.outputs])),
    ]
}

impl Backward<Flex, 3> for Step {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let State { x, weight, call } = ops.state;
        let inputs = [x, weight].map(|node| checkpointer.retrieve_node_output::<FlexTensor>(node));
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        let required = [parents[0].is_some(), parents[1].is_some(), parents[2].is_some() && call.biased];
        let of_parents = match dy.dtype() {
            DType::F64 => backward::<f64>(&call.geometry, inputs, &dy, required),
            _ => backward::<f32>(&call.geometry, inputs, &dy, required),
        };
        for (parent, gradient) in parents.into_iter().zip(of_parents) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent, gradient);
            }
        }
    }
}

/// A tensor in the graph.
type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

impl<C: CheckpointStrategy> ConvolutionBackend for Autodiff<Flex, C> {
    fn convolution(x: Tracked<C>, weight: Tracked<C>, bias: Tracked<C>, call: Call) -> Tracked<C> {
        let y = forward(x.primitive(), weight.primitive(), bias.primitive(), call);
        match Step.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut step) => {
                let state = State { x: step.checkpoint(&x), weight: step.checkpoint(&weight), call };
                step.finish(state, y)
            }
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }
}
