//! The two passes as operations in Burn's graph.
//!
//! Burn tensors become views, the core computes, its buffers become Burn tensors. Under autodiff the forward pass
//! registers a backward step that holds what the core saved.

use batchnorm::{Axes, BatchMoments, CallError, Parameters, Rule, RunningStatistics, Saved, View, ViewMut};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Element, Shape, Tensor, TensorData};

/// Which forward pass, with all it needs beside tensors.
#[derive(Debug, Clone)]
pub enum Pass {
    /// By the batch.
    Train(Rule),
    /// By the running statistics.
    Eval(Rule, RunningStatistics),
}

/// What a forward pass leaves beside its output: what the backward pass needs, until the graph has taken it, and in
/// training the batch's moments.
pub type Left = (Option<Saved>, Option<BatchMoments>);

/// A backend that has the two passes.
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormBackend: Backend {
    /// The output and what else the pass leaves. On an error the tensor is the input, not to be used.
    fn batch_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        pass: Pass,
    ) -> (FloatTensor<Self>, Result<Left, CallError>);

    /// dx, dgamma and dbeta.
    fn batch_norm_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        saved: Saved,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// dgamma and dbeta, of an input that requires no gradient.
    fn batch_norm_parameter_gradients(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        saved: Saved,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The forward pass on Burn's tensors of at least two axes, on Flex, all `f32` or all `f64`.
pub fn forward<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    pass: Pass,
) -> Result<(Tensor<D>, Option<BatchMoments>), CallError> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (y, left) = Dispatch::batch_norm_forward(x, gamma, beta, pass);
    left.map(|(_, batch)| (Tensor::from_dispatch(y), batch))
}

/// A tensor of the type as it lies in memory, strides and all.
fn view<'t, T: batchnorm::Element>(tensor: &'t FlexTensor, storage: &'t [T]) -> View<'t, T> {
    let layout = tensor.layout();
    let shape: &[usize] = layout.shape();
    View::with_strides(storage, shape, layout.strides(), layout.start_offset(), Axes::NCHW)
        .expect("the module checks the rank, and a tensor lies within its storage")
}

/// A tensor around a buffer, without copying.
fn tensor<T: Element>(values: Vec<T>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn rounded<T: batchnorm::Number + Element>(values: Vec<f64>) -> FlexTensor {
    let shape = Shape::new([values.len()]);
    tensor(values.into_iter().map(T::from_f64).collect(), shape)
}

/// A buffer of the tensor's size, filled through a view.
fn filled<T: batchnorm::Element + Element, R>(
    like: &FlexTensor,
    write: impl FnOnce(&mut ViewMut<T>) -> Result<R, CallError>,
) -> Result<(FlexTensor, R), CallError> {
    let shape = like.shape();
    let mut values = vec![T::default(); shape.num_elements()];
    let mut view = ViewMut::new(&mut values, &shape, Axes::NCHW).expect("a dense buffer of a shape already viewed");
    let result = write(&mut view)?;
    Ok((tensor(values, shape), result))
}

fn forward_of<T: batchnorm::Element<Param = T> + batchnorm::Parameter + Element>(
    x: &FlexTensor,
    storage: &[T],
    gamma: Option<&[T]>,
    beta: Option<&[T]>,
    pass: &Pass,
) -> Result<(FlexTensor, Left), CallError> {
    let (view, parameters) = (view(x, storage), Parameters { gamma, beta });
    filled(x, |y| match pass {
        Pass::Train(rule) => rule.train(&view, parameters, None, y).map(|(saved, batch)| (Some(saved), Some(batch))),
        Pass::Eval(rule, running) => rule.eval(&view, parameters, Some(running), y).map(|saved| (Some(saved), None)),
    })
}

fn backward_of<T: batchnorm::Element + Element>(
    tensors: [&FlexTensor; 2],
    [x, dy]: [&[T]; 2],
    saved: &Saved,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let (dx, parameters) = filled(tensors[0], |dx| saved.backward(&view(tensors[0], x), &view(tensors[1], dy), dx))
        .expect("the graph gives the forward pass's input and a gradient of its output's shape");
    (dx, rounded::<T>(parameters.dgamma), rounded::<T>(parameters.dbeta))
}

/// The one place where dx is not wanted.
fn parameter_gradients_of<T: batchnorm::Element + Element>(
    tensors: [&FlexTensor; 2],
    storages: [&[T]; 2],
    saved: &Saved,
) -> (FlexTensor, FlexTensor) {
    let [x, dy] = [0, 1].map(|which| view(tensors[which], storages[which]));
    let gradients = saved.parameter_gradients(&x, &dy).expect("the graph gives the forward pass's input and shape");
    (rounded::<T>(gradients.dgamma), rounded::<T>(gradients.dbeta))
}

impl BatchNormBackend for Flex {
    fn batch_norm_forward(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        pass: Pass,
    ) -> (FlexTensor, Result<Left, CallError>) {
        // A vector of a few channels: a copy where it is not contiguous costs nothing.
        let (gamma, beta) = (gamma.to_contiguous(), beta.to_contiguous());
        let outcome = match x.dtype() {
            DType::F64 => forward_of::<f64>(&x, x.storage(), gamma.as_slice(), beta.as_slice(), &pass),
            _ => forward_of::<f32>(&x, x.storage(), gamma.as_slice(), beta.as_slice(), &pass),
        };
        match outcome {
            Ok((y, left)) => (y, Ok(left)),
            Err(error) => (x, Err(error)),
        }
    }

    fn batch_norm_backward(x: FlexTensor, dy: FlexTensor, saved: Saved) -> (FlexTensor, FlexTensor, FlexTensor) {
        match x.dtype() {
            DType::F64 => backward_of::<f64>([&x, &dy], [x.storage(), dy.storage()], &saved),
            _ => backward_of::<f32>([&x, &dy], [x.storage(), dy.storage()], &saved),
        }
    }

    fn batch_norm_parameter_gradients(x: FlexTensor, dy: FlexTensor, saved: Saved) -> (FlexTensor, FlexTensor) {
        match x.dtype() {
            DType::F64 => parameter_gradients_of::<f64>([&x, &dy], [x.storage(), dy.storage()], &saved),
            _ => parameter_gradients_of::<f32>([&x, &dy], [x.storage(), dy.storage()], &saved),
        }
    }
}

/// The backward step in the graph.
#[derive(Debug)]
struct Step;

impl<B: BatchNormBackend> Backward<B, 3> for Step {
    /// Where the graph keeps the input, and what the core saved. gamma is in there, as it was.
    type State = (NodeId, Saved);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (x, saved) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        // Who requires no gradient is no parent.
        let [input, gamma, beta] = ops.parents;
        let (dgamma, dbeta) = match input {
            Some(input) => {
                let (dx, dgamma, dbeta) = B::batch_norm_backward(x, dy, saved);
                gradients.register::<B>(input.id, dx);
                (dgamma, dbeta)
            }
            None => B::batch_norm_parameter_gradients(x, dy, saved),
        };
        for (parent, gradient) in [(gamma, dgamma), (beta, dbeta)] {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Not reached: Burn 0.22 has no device that is autodiff over autodiff.
const OF_A_GRADIENT: &str = "batch norm: the gradient of the gradient; no autodiff over autodiff";

impl<B: BatchNormBackend, C: CheckpointStrategy> BatchNormBackend for Autodiff<B, C> {
    fn batch_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        pass: Pass,
    ) -> (FloatTensor<Self>, Result<Left, CallError>) {
        let parents = [x.node(), gamma.node(), beta.node()];
        match Step.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut step) => {
                let input = step.checkpoint(&x);
                let (gamma, beta) = (gamma.into_primitive(), beta.into_primitive());
                match B::batch_norm_forward(x.into_primitive(), gamma, beta, pass) {
                    (y, Ok((saved, batch))) => {
                        let saved = saved.expect("a forward pass on a plain backend leaves it");
                        (step.finish((input, saved), y), Ok((None, batch)))
                    }
                    (x, Err(error)) => (Self::from_inner(x), Err(error)),
                }
            }
            OpsKind::UnTracked(step) => {
                let (gamma, beta) = (gamma.into_primitive(), beta.into_primitive());
                let (y, left) = B::batch_norm_forward(x.into_primitive(), gamma, beta, pass);
                (step.finish(y), left)
            }
        }
    }

    fn batch_norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Saved,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unimplemented!("{OF_A_GRADIENT}")
    }

    fn batch_norm_parameter_gradients(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Saved,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unimplemented!("{OF_A_GRADIENT}")
    }
}
