//! The passes as operations in Burn's graph.
//!
//! Burn tensors become views, the core computes, its buffers become Burn tensors. Under autodiff the forward pass
//! registers a backward step that holds what the core saved.

use batchnorm::{Activation, Axes, ParameterGradients, Parameters, View, ViewMut};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Element, Shape, Tensor, TensorData};

use crate::error::Reason;
use crate::pass::{Left, Pass, Told};

/// What a forward pass tells beside its output.
type Answer = Result<Told, Reason>;

/// A backend that has the passes. On an error the tensor is the input, not to be used.
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormBackend: Backend {
    /// The forward pass.
    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        pass: Pass,
    ) -> (FloatTensor<Self>, Answer);

    /// The forward pass with a residual: an operation of its own, for it has a parent more in the graph.
    fn batch_norm_adding(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        pass: Pass,
    ) -> (FloatTensor<Self>, Answer);
}

/// The forward pass on Burn's tensors of at least two axes, on Flex, all `f32` or all `f64`.
pub fn forward<const D: usize>(
    x: Tensor<D>,
    residual: Option<Tensor<D>>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    pass: Pass,
) -> Result<(Tensor<D>, Told), Reason> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (y, told) = match residual {
        Some(residual) => Dispatch::batch_norm_adding(x, residual.into_dispatch(), gamma, beta, pass),
        None => Dispatch::batch_norm(x, gamma, beta, pass),
    };
    told.map(|told| (Tensor::from_dispatch(y), told))
}

/// The number types that are computed as they are.
trait Native: batchnorm::Element<Param = Self> + batchnorm::Parameter + Element {
    /// All of the memory in which a tensor lies.
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

/// A tensor as it lies in memory, strides and all.
fn view<T: Native>(tensor: &FlexTensor) -> View<'_, T> {
    let layout = tensor.layout();
    let shape: &[usize] = layout.shape();
    View::with_strides(T::storage(tensor), shape, layout.strides(), layout.start_offset(), Axes::NCHW)
        .expect("the module checks the rank, and a tensor lies within its storage")
}

/// The values of a contiguous vector.
fn values<T: Native>(vector: &FlexTensor) -> &[T] {
    &T::storage(vector)[vector.layout().start_offset()..][..vector.shape().num_elements()]
}

/// A tensor around a buffer, without copying.
fn tensor<T: Element>(values: Vec<T>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn rounded<T: Native>(values: Vec<f64>) -> FlexTensor {
    let shape = Shape::new([values.len()]);
    tensor(values.into_iter().map(T::from_f64).collect(), shape)
}

/// A buffer of the tensor's size, filled through a view.
fn filled<T: Native, R>(
    like: &FlexTensor,
    write: impl FnOnce(&mut ViewMut<T>) -> Result<R, Reason>,
) -> Result<(FlexTensor, R), Reason> {
    let shape = like.shape();
    let mut values = vec![T::default(); shape.num_elements()];
    let mut view = ViewMut::new(&mut values, &shape, Axes::NCHW).expect("a dense buffer of a shape already viewed");
    let result = write(&mut view)?;
    Ok((tensor(values, shape), result))
}

/// What a forward pass takes: input, residual, gamma and beta.
struct Taken<'t> {
    x: &'t FlexTensor,
    residual: Option<&'t FlexTensor>,
    gamma: &'t FlexTensor,
    beta: &'t FlexTensor,
}

/// What a forward pass gives: its output, what the backward pass needs, and what it tells.
type Passed = (FlexTensor, Left, Told);

fn run(taken: Taken, pass: &Pass) -> Result<Passed, Reason> {
    // A vector of a few channels: a copy where it is not contiguous costs nothing.
    let (gamma, beta) = (taken.gamma.to_contiguous(), taken.beta.to_contiguous());
    let taken = Taken { gamma: &gamma, beta: &beta, ..taken };
    match taken.x.dtype() {
        DType::F64 => run_in::<f64>(taken, pass),
        _ => run_in::<f32>(taken, pass),
    }
}

fn run_in<T: Native>(Taken { x, residual, gamma, beta }: Taken, pass: &Pass) -> Result<Passed, Reason> {
    let (seen, residual) = (view::<T>(x), residual.map(view::<T>));
    let parameters = Parameters { gamma: Some(values::<T>(gamma)), beta: Some(values::<T>(beta)) };
    let (y, (left, told)) = filled(x, |y| pass.run(&seen, residual.as_ref(), parameters, y))?;
    Ok((y, left, told))
}

impl BatchNormBackend for Flex {
    fn batch_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, pass: Pass) -> (FlexTensor, Answer) {
        match run(Taken { x: &x, residual: None, gamma: &gamma, beta: &beta }, &pass) {
            Ok((y, _, batch)) => (y, Ok(batch)),
            Err(error) => (x, Err(error)),
        }
    }

    fn batch_norm_adding(
        x: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        pass: Pass,
    ) -> (FlexTensor, Answer) {
        match run(Taken { x: &x, residual: Some(&residual), gamma: &gamma, beta: &beta }, &pass) {
            Ok((y, _, batch)) => (y, Ok(batch)),
            Err(error) => (x, Err(error)),
        }
    }
}

/// The backward step in the graph: of input, gamma and beta, or of input, residual, gamma and beta.
#[derive(Debug)]
struct Step;

/// What the graph keeps for a backward step.
#[derive(Debug, Clone)]
struct Kept {
    /// Where the graph keeps the input.
    x: NodeId,
    /// What the forward pass left. gamma is in there, as it was.
    left: Left,
    /// Whether gamma and beta are trained.
    trains: bool,
    /// The output, where it alone tells the activation's derivative: behind a residual.
    y: Option<FlexTensor>,
    /// What errors call the layer.
    layer: String,
}

impl Kept {
    fn new(x: NodeId, left: Left, pass: &Pass, residual: bool, y: &FlexTensor) -> Kept {
        let (trains, layer) = (pass.trains(), pass.layer().to_string());
        let kept = |left, y| Kept { x, left, trains, y, layer };
        match left.adding().filter(|_| residual) {
            None => kept(left, None),
            // The residual's gradient is dy as it comes.
            Some(saved) if saved.activation() == Activation::Identity => {
                kept(Left::Whole(saved.without_residual()), None)
            }
            Some(_) => kept(left, Some(y.clone())),
        }
    }
}

/// Who requires a gradient: the others are no parents.
struct Parents {
    x: Option<NodeId>,
    residual: Option<NodeId>,
    gamma: Option<NodeId>,
    beta: Option<NodeId>,
}

impl Backward<Flex, 3> for Step {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x, gamma, beta] = ops.parents.map(|parent| parent.map(|node| node.id));
        propagate(dy, Parents { x, residual: None, gamma, beta }, ops.state, gradients, checkpointer);
    }
}

impl Backward<Flex, 4> for Step {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 4>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x, residual, gamma, beta] = ops.parents.map(|parent| parent.map(|node| node.id));
        propagate(dy, Parents { x, residual, gamma, beta }, ops.state, gradients, checkpointer);
    }
}

/// Computes what somebody requires, and gives it to him.
fn propagate(dy: FlexTensor, parents: Parents, kept: Kept, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
    let Parents { x, residual, gamma, beta } = parents;
    let [gamma, beta] = [gamma, beta].map(|parent| parent.filter(|_| kept.trains));
    let wanted = Wanted { residual: residual.is_some(), x: x.is_some() };
    let input = x.or(gamma).or(beta).map(|_| checkpointer.retrieve_node_output::<FlexTensor>(kept.x));
    let Given { dresidual, dx, parameters } = match dy.dtype() {
        DType::F64 => backward::<f64>(kept, input, dy, wanted),
        _ => backward::<f32>(kept, input, dy, wanted),
    };
    let [dgamma, dbeta] = parameters.map_or([None, None], |both| both.map(Some));
    for (parent, gradient) in [(residual, dresidual), (x, dx), (gamma, dgamma), (beta, dbeta)] {
        if let (Some(parent), Some(gradient)) = (parent, gradient) {
            gradients.register::<Flex>(parent, gradient);
        }
    }
}

/// Whose gradient somebody requires, beside gamma's and beta's.
struct Wanted {
    residual: bool,
    x: bool,
}

/// Gradients: of the residual, of the input, of gamma and beta.
struct Given {
    dresidual: Option<FlexTensor>,
    dx: Option<FlexTensor>,
    parameters: Option<[FlexTensor; 2]>,
}

/// The graph gives the forward pass's input and a gradient of its output's shape; participants alone may fail, and a
/// backward pass of Burn's has no other way to say so.
fn fits<R>(layer: &str, given: Result<R, impl Into<Reason>>) -> R {
    given.unwrap_or_else(|error| match error.into() {
        error @ Reason::Collective(_) => {
            panic!("{layer}: {error} (in a backward pass: are the replicas on threads of their own, made by `fork`?)")
        }
        error => panic!("{layer}: {error}"),
    })
}

/// The backward pass. There is an input if somebody requires more than the residual's gradient.
fn backward<T: Native>(kept: Kept, input: Option<FlexTensor>, dy: FlexTensor, wanted: Wanted) -> Given {
    let (seen, seen_y, seen_dy) = (input.as_ref().map(view::<T>), kept.y.as_ref().map(view::<T>), view::<T>(&dy));
    let both = |all: ParameterGradients| [all.dgamma, all.dbeta].map(rounded::<T>);
    let Kept { left, layer, .. } = &kept;
    match (&seen, &seen_y, left.adding()) {
        (Some(x), Some(y), Some(saved)) if wanted.x => {
            let step = |dresidual: &mut ViewMut<T>| {
                filled(&dy, |dx| Ok(saved.backward_adding(x, y, &seen_dy, dx, dresidual)?))
            };
            let (dresidual, (dx, parameters)) = fits(layer, filled(&dy, step));
            Given { dresidual: Some(dresidual), dx: Some(dx), parameters: Some(both(parameters)) }
        }
        (x, Some(y), Some(saved)) => {
            let alone = || fits(layer, filled(&dy, |out| Ok(saved.residual_gradient(y, &seen_dy, out)?))).0;
            let parameters = |x| both(fits(layer, saved.parameter_gradients_adding(x, y, &seen_dy)));
            Given { dresidual: wanted.residual.then(alone), dx: None, parameters: x.as_ref().map(parameters) }
        }
        // dy is the gradient of a residual that no activation follows.
        (Some(x), ..) if wanted.x => {
            let (dx, parameters) = fits(layer, filled(&dy, |dx| left.backward(x, &seen_dy, dx)));
            Given { dresidual: Some(dy.clone()), dx: Some(dx), parameters: Some(both(parameters)) }
        }
        (x, ..) => {
            let parameters = |x| match fits(layer, left.parameter_gradients(x, &seen_dy)) {
                Some(alone) => both(alone),
                None => both(fits(layer, filled(&dy, |dx| left.backward(x, &seen_dy, dx))).1),
            };
            Given { dresidual: Some(dy.clone()), dx: None, parameters: x.as_ref().map(parameters) }
        }
    }
}

/// A tensor in the graph.
type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

/// The forward pass, and its step in the graph.
fn record<C: CheckpointStrategy, const N: usize>(
    parents: [NodeGuard; N],
    x: Tracked<C>,
    residual: Option<Tracked<C>>,
    [gamma, beta]: [Tracked<C>; 2],
    pass: &Pass,
) -> (Tracked<C>, Answer)
where
    Step: Backward<Flex, N, State = Kept>,
{
    let taken = Taken {
        x: x.primitive(),
        residual: residual.as_ref().map(|residual| residual.primitive()),
        gamma: gamma.primitive(),
        beta: beta.primitive(),
    };
    let (y, left, batch) = match run(taken, pass) {
        Ok(passed) => passed,
        Err(error) => return (x, Err(error)),
    };
    let y = match Backward::<Flex, N>::prepare::<C>(Step, parents).compute_bound().stateful() {
        OpsKind::Tracked(mut step) => {
            let kept = Kept::new(step.checkpoint(&x), left, pass, residual.is_some(), &y);
            step.finish(kept, y)
        }
        OpsKind::UnTracked(step) => step.finish(y),
    };
    (y, Ok(batch))
}

impl<C: CheckpointStrategy> BatchNormBackend for Autodiff<Flex, C> {
    fn batch_norm(x: Tracked<C>, gamma: Tracked<C>, beta: Tracked<C>, pass: Pass) -> (Tracked<C>, Answer) {
        record::<C, 3>([x.node(), gamma.node(), beta.node()], x, None, [gamma, beta], &pass)
    }

    fn batch_norm_adding(
        x: Tracked<C>,
        residual: Tracked<C>,
        gamma: Tracked<C>,
        beta: Tracked<C>,
        pass: Pass,
    ) -> (Tracked<C>, Answer) {
        let parents = [x.node(), residual.node(), gamma.node(), beta.node()];
        record::<C, 4>(parents, x, Some(residual), [gamma, beta], &pass)
    }
}
