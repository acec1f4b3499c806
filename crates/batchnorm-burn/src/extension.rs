//! The passes as operations in Burn's graph.
//!
//! Burn's tensors become views, the core computes on these, and its buffers become Burn's tensors. Under autodiff the
//! forward pass registers a backward step, which holds what the core saved.

use batchnorm::{Activation, Axes, GradientBuffers, Input, ParameterGradients, Parameters, View, ViewMut};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Element, Shape, Tensor, TensorData};

use crate::error::Reason;
use crate::name::LayerName;
use crate::pass::{BatchNormPass, BatchReport, Pass, SavedPass};
use crate::running::Cell;

/// A backend that has the passes. Where the report is an error, the tensor is the input, not to be used.
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormBackend: Backend {
    /// The forward pass.
    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        pass: Pass,
    ) -> (FloatTensor<Self>, Result<BatchReport, Reason>);

    /// The forward pass with a residual: an operation of its own, for it has a parent more in the graph.
    fn batch_norm_adding(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        pass: Pass,
    ) -> (FloatTensor<Self>, Result<BatchReport, Reason>);
}

/// The forward pass on Burn's tensors of at least two axes, on Flex, all `f32` or all `f64`.
pub fn forward<const D: usize>(
    x: Tensor<D>,
    residual: Option<Tensor<D>>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    pass: Pass,
) -> Result<(Tensor<D>, BatchReport), Reason> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (y, report) = match residual {
        Some(residual) => Dispatch::batch_norm_adding(x, residual.into_dispatch(), gamma, beta, pass),
        None => Dispatch::batch_norm(x, gamma, beta, pass),
    };
    report.map(|report| (Tensor::from_dispatch(y), report))
}

/// Number types that the core computes with as they are; others are cast first.
trait Native: batchnorm::Element<Param = Self> + batchnorm::Parameter + Element {
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

/// A view of a tensor as it lies in memory, with its strides.
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

/// A vector of `T`, each value rounded to it.
fn rounded<T: Native>(values: Vec<f64>) -> FlexTensor {
    let shape = Shape::new([values.len()]);
    tensor(values.into_iter().map(T::from_f64).collect(), shape)
}

/// A new tensor of the shape of `like`, written through a view.
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

/// A forward pass on tensors of `f32` or `f64`: its output, and what is saved and reported.
fn run(
    x: &FlexTensor,
    residual: Option<&FlexTensor>,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    pass: &Pass,
) -> Result<(FlexTensor, SavedPass, BatchReport), Reason> {
    // A vector of a few channels: a copy where it is not contiguous costs nothing.
    let (gamma, beta) = (gamma.to_contiguous(), beta.to_contiguous());
    match x.dtype() {
        DType::F64 => run_in::<f64>(x, residual, &gamma, &beta, pass),
        _ => run_in::<f32>(x, residual, &gamma, &beta, pass),
    }
}

/// [`run`], with the number type known; gamma and beta are contiguous.
fn run_in<T: Native>(
    x: &FlexTensor,
    residual: Option<&FlexTensor>,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    pass: &Pass,
) -> Result<(FlexTensor, SavedPass, BatchReport), Reason> {
    let (x_view, residual) = (view::<T>(x), residual.map(view::<T>));
    let parameters = Parameters { gamma: Some(values::<T>(gamma)), beta: Some(values::<T>(beta)) };
    let (y, (saved, report)) = filled(x, |y| pass.run(&x_view, residual.as_ref(), parameters, y))?;
    Ok((y, saved, report))
}

/// A forward pass that nobody goes back through.
fn run_untracked(
    x: FlexTensor,
    residual: Option<FlexTensor>,
    gamma: FlexTensor,
    beta: FlexTensor,
    pass: &Pass,
) -> (FlexTensor, Result<BatchReport, Reason>) {
    let residual = residual.as_ref();
    let evaluation = match pass {
        Pass::BatchNorm(pass) => pass.evaluates_by().map(|cells| (pass, cells)),
        _ => None,
    };
    let passed = match evaluation {
        None => run(&x, residual, &gamma, &beta, pass).map(|(y, _, report)| (y, report)),
        Some((pass, cells)) => {
            let (gamma, beta) = (gamma.to_contiguous(), beta.to_contiguous());
            let y = match x.dtype() {
                DType::F64 => evaluate::<f64>(&x, residual, [&gamma, &beta], pass, cells),
                _ => evaluate::<f32>(&x, residual, [&gamma, &beta], pass, cells),
            };
            y.map(|y| (y, BatchReport::Moments { batch: None, part: None }))
        }
    };
    match passed {
        Ok((y, report)) => (y, Ok(report)),
        Err(error) => (x, Err(error)),
    }
}

/// An evaluation by what the last one prepared, if that still holds.
fn evaluate<T: Native>(
    x: &FlexTensor,
    residual: Option<&FlexTensor>,
    [gamma, beta]: [&FlexTensor; 2],
    pass: &BatchNormPass,
    cells: &[Cell],
) -> Result<FlexTensor, Reason> {
    let (x_view, residual) = (view::<T>(x), residual.map(view::<T>));
    let parameters = Parameters { gamma: Some(values::<T>(gamma)), beta: Some(values::<T>(beta)) };
    let (last, epsilon) = &pass.prepared;
    let prepared = last.get(&pass.normalizer, *epsilon, [gamma, beta], parameters, cells)?;
    let input = residual.as_ref().map_or(Input::from(&x_view), |residual| Input::adding(&x_view, residual));
    Ok(filled(x, |y| Ok(pass.normalizer.eval_prepared(input, &prepared, y)?))?.0)
}

impl BatchNormBackend for Flex {
    fn batch_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        pass: Pass,
    ) -> (FlexTensor, Result<BatchReport, Reason>) {
        run_untracked(x, None, gamma, beta, &pass)
    }

    fn batch_norm_adding(
        x: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        pass: Pass,
    ) -> (FlexTensor, Result<BatchReport, Reason>) {
        run_untracked(x, Some(residual), gamma, beta, &pass)
    }
}

/// The backward step in the graph: of input, gamma and beta, or of input, residual, gamma and beta.
#[derive(Debug)]
struct Step;

/// The state that the graph keeps for a backward step.
#[derive(Debug, Clone)]
struct StepState {
    /// The node whose output is the input; the graph keeps it.
    x: NodeId,
    /// The saved forward pass, with gamma as it was then.
    saved: SavedPass,
    trains_parameters: bool,
    /// The output, where only it gives the activation's derivative: behind a residual.
    y: Option<FlexTensor>,
    /// Name of the layer in errors.
    layer: LayerName,
}

impl StepState {
    fn new(x: NodeId, saved: SavedPass, pass: &Pass, residual: bool, y: &FlexTensor) -> StepState {
        let (trains_parameters, layer) = (pass.trains_parameters(), pass.layer().handle());
        let state = |saved, y| StepState { x, saved, trains_parameters, y, layer };
        match saved.whole_batch().filter(|_| residual) {
            None => state(saved, None),
            // The residual's gradient is dy as it comes.
            Some(whole) if whole.activation() == Activation::Identity => {
                state(SavedPass::Whole(whole.without_residual()), None)
            }
            Some(_) => state(saved, Some(y.clone())),
        }
    }
}

/// The nodes that require a gradient; those that do not are no parents of the step.
struct Parents {
    x: Option<NodeId>,
    residual: Option<NodeId>,
    gamma: Option<NodeId>,
    beta: Option<NodeId>,
}

impl Backward<Flex, 3> for Step {
    type State = StepState;

    fn backward(self, ops: Ops<StepState, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x, gamma, beta] = ops.parents.map(|parent| parent.map(|node| node.id));
        propagate(dy, Parents { x, residual: None, gamma, beta }, ops.state, gradients, checkpointer);
    }
}

impl Backward<Flex, 4> for Step {
    type State = StepState;

    fn backward(self, ops: Ops<StepState, 4>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x, residual, gamma, beta] = ops.parents.map(|parent| parent.map(|node| node.id));
        propagate(dy, Parents { x, residual, gamma, beta }, ops.state, gradients, checkpointer);
    }
}

/// Computes the gradients that are required, and registers them with their nodes.
fn propagate(
    dy: FlexTensor,
    parents: Parents,
    state: StepState,
    gradients: &mut Gradients,
    checkpointer: &mut Checkpointer,
) {
    let Parents { x, residual, gamma, beta } = parents;
    let [gamma, beta] = [gamma, beta].map(|parent| parent.filter(|_| state.trains_parameters));
    let required = Required { residual: residual.is_some(), x: x.is_some() };
    let input = x.or(gamma).or(beta).map(|_| checkpointer.retrieve_node_output::<FlexTensor>(state.x));
    let StepGradients { dresidual, dx, parameters } = match dy.dtype() {
        DType::F64 => backward::<f64>(state, input, dy, required),
        _ => backward::<f32>(state, input, dy, required),
    };
    let [dgamma, dbeta] = parameters.map_or([None, None], |both| both.map(Some));
    for (parent, gradient) in [(residual, dresidual), (x, dx), (gamma, dgamma), (beta, dbeta)] {
        if let (Some(parent), Some(gradient)) = (parent, gradient) {
            gradients.register::<Flex>(parent, gradient);
        }
    }
}

/// The gradients that are required beside those of gamma and beta.
struct Required {
    residual: bool,
    x: bool,
}

/// Gradients of the residual, of the input, and of gamma and beta.
struct StepGradients {
    dresidual: Option<FlexTensor>,
    dx: Option<FlexTensor>,
    parameters: Option<[FlexTensor; 2]>,
}

/// The result of a backward pass, or a panic that names the layer. The graph gives the forward pass's input and a
/// gradient of its output's shape, so that only participants may fail, and a backward pass of Burn's has no other way
/// to say so.
fn or_panic<R>(layer: &LayerName, result: Result<R, impl Into<Reason>>) -> R {
    result.unwrap_or_else(|error| match error.into() {
        error @ Reason::Collective(_) => {
            panic!("{layer}: {error} (in a backward pass: are the replicas on threads of their own, made by `fork`?)")
        }
        error => panic!("{}", layer.error(error)),
    })
}

/// The backward pass. `input` is there where more than the residual's gradient is required.
fn backward<T: Native>(
    state: StepState,
    input: Option<FlexTensor>,
    dy: FlexTensor,
    required: Required,
) -> StepGradients {
    let (x, y, dy_view) = (input.as_ref().map(view::<T>), state.y.as_ref().map(view::<T>), view::<T>(&dy));
    let tensors = |gradients: ParameterGradients| [gradients.dgamma, gradients.dbeta].map(rounded::<T>);
    let StepState { saved, layer, .. } = &state;
    match (&x, &y, saved.whole_batch()) {
        // A residual with an activation behind it: y gives the activation's derivative.
        (Some(x), Some(y), Some(whole)) if required.x => {
            let step = |dresidual: &mut ViewMut<T>| {
                filled(&dy, |dx| {
                    let buffers = GradientBuffers::with_residual(dx, dresidual);
                    Ok(whole.backward(Input::with_output(x, y), &dy_view, buffers)?)
                })
            };
            let (dresidual, (dx, parameters)) = or_panic(layer, filled(&dy, step));
            StepGradients { dresidual: Some(dresidual), dx: Some(dx), parameters: Some(tensors(parameters)) }
        }
        (x, Some(y), Some(whole)) => {
            let dresidual = || or_panic(layer, filled(&dy, |out| Ok(whole.residual_gradient(y, &dy_view, out)?))).0;
            let parameters =
                |x| tensors(or_panic(layer, whole.parameter_gradients(Input::with_output(x, y), &dy_view)));
            StepGradients {
                dresidual: required.residual.then(dresidual),
                dx: None,
                parameters: x.as_ref().map(parameters),
            }
        }
        // No residual, or one that no activation follows: then its gradient is dy.
        (Some(x), ..) if required.x => {
            let (dx, parameters) = or_panic(layer, filled(&dy, |dx| saved.backward(x, &dy_view, dx)));
            StepGradients { dresidual: Some(dy.clone()), dx: Some(dx), parameters: Some(tensors(parameters)) }
        }
        (x, ..) => {
            let parameters = |x| match or_panic(layer, saved.parameter_gradients(x, &dy_view)) {
                Some(gradients) => tensors(gradients),
                None => tensors(or_panic(layer, filled(&dy, |dx| saved.backward(x, &dy_view, dx))).1),
            };
            StepGradients { dresidual: Some(dy.clone()), dx: None, parameters: x.as_ref().map(parameters) }
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
) -> (Tracked<C>, Result<BatchReport, Reason>)
where
    Step: Backward<Flex, N, State = StepState>,
{
    let residual_tensor = residual.as_ref().map(|residual| residual.primitive());
    let (y, saved, report) = match run(x.primitive(), residual_tensor, gamma.primitive(), beta.primitive(), pass) {
        Ok(passed) => passed,
        Err(error) => return (x, Err(error)),
    };
    let y = match Backward::<Flex, N>::prepare::<C>(Step, parents).compute_bound().stateful() {
        OpsKind::Tracked(mut step) => {
            let state = StepState::new(step.checkpoint(&x), saved, pass, residual.is_some(), &y);
            step.finish(state, y)
        }
        OpsKind::UnTracked(step) => step.finish(y),
    };
    (y, Ok(report))
}

impl<C: CheckpointStrategy> BatchNormBackend for Autodiff<Flex, C> {
    fn batch_norm(
        x: Tracked<C>,
        gamma: Tracked<C>,
        beta: Tracked<C>,
        pass: Pass,
    ) -> (Tracked<C>, Result<BatchReport, Reason>) {
        record::<C, 3>([x.node(), gamma.node(), beta.node()], x, None, [gamma, beta], &pass)
    }

    fn batch_norm_adding(
        x: Tracked<C>,
        residual: Tracked<C>,
        gamma: Tracked<C>,
        beta: Tracked<C>,
        pass: Pass,
    ) -> (Tracked<C>, Result<BatchReport, Reason>) {
        let parents = [x.node(), residual.node(), gamma.node(), beta.node()];
        record::<C, 4>(parents, x, Some(residual), [gamma, beta], &pass)
    }
}
