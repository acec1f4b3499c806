"""PyTorch on the CPU, through torch.nn.functional as its modules call it."""

import numpy as np
import torch
import torch.nn.functional as F

VERSION = torch.__version__
TYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def tensor(array, kind=None):
    """Without copying, so that strides stay."""
    if any(stride < 0 for stride in array.strides):
        raise NotImplementedError("negative strides")
    made = torch.from_numpy(array)
    return made if kind is None else made.to(TYPES[kind])


def numpy(values):
    values = values.detach()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def solve(case):
    if case.weights is not None:
        raise NotImplementedError("no weights")
    return {"train": trained, "eval": evaluated, "forward": forward, "updates": updates, "population": population,
            "chain": chain}[case.operation](case)


def given(case, name):
    value = case.inputs.get(name)
    return None if value is None else tensor(np.array(value))


def channels_second(case, array):
    return tensor(array, case.type).movedim(case.channel_axis, 1)


def differentiated(case, function, outputs):
    """y of function(x, gamma, beta), and the gradients."""
    x = tensor(case.x, case.type)
    gamma, beta = given(case, "gamma"), given(case, "beta")
    leaves = {"dx": x, "dgamma": gamma, "dbeta": beta}
    leaves = {name: leaf for name, leaf in leaves.items() if leaf is not None and case.dy is not None}
    for leaf in leaves.values():
        leaf.requires_grad_()
    y = function(x, gamma, beta)
    outputs["y"] = numpy(y)
    if case.dy is not None:
        gradients = torch.autograd.grad(y, list(leaves.values()), tensor(case.dy, case.type))
        outputs |= {name: numpy(value) for name, value in zip(leaves, gradients)}
    return outputs


def batch_norm(case, running, training):
    def function(x, gamma, beta):
        momentum = case.update["weight_of_new"] if case.update else 0.1
        y = F.batch_norm(x.movedim(case.channel_axis, 1), *running, gamma, beta, training, momentum, case.epsilon)
        return (F.relu(y) if case.activation == "relu" else y).movedim(1, case.channel_axis)
    return function


def trained(case):
    running = [given(case, "running_mean"), given(case, "running_variance")]
    outputs = differentiated(case, batch_norm(case, running, True), {})
    if case.update is not None:
        # (torch knows the sample variance alone.)
        kept = zip(["running_mean", "running_variance"], running)
        outputs |= {name: numpy(v) for name, v in kept if case.update["variance"] == "sample" or name == "running_mean"}
    if case.direction is not None:
        gamma, beta = given(case, "gamma"), given(case, "beta")
        function = batch_norm(case, [None, None], True)
        x, direction = tensor(case.x, case.type), tensor(case.direction, case.type)
        outputs["jvp"] = numpy(torch.func.jvp(lambda x: function(x, gamma, beta), (x,), (direction,))[1])
    return outputs


def evaluated(case):
    return differentiated(case, batch_norm(case, [given(case, "running_mean"), given(case, "running_variance")], False), {})


def forward(case):
    if case.norm == "group-rms":
        raise NotImplementedError("torch has no grouped RMS norm")

    def normalized(x, gamma, beta):
        if case.norm == "layer":
            return F.layer_norm(x, x.shape[-case.axes:], gamma, beta, case.epsilon)
        if case.norm == "rms":
            if beta is not None:
                return F.rms_norm(x, x.shape[-case.axes:], gamma, case.epsilon) + beta
            return F.rms_norm(x, x.shape[-case.axes:], gamma, case.epsilon)
        moved = x.movedim(case.channel_axis, 1)
        if case.norm == "group":
            y = F.group_norm(moved, case.groups, gamma, beta, case.epsilon)
        else:
            y = F.instance_norm(moved, None, None, gamma, beta, True, 0.1, case.epsilon)
        return y.movedim(1, case.channel_axis)

    def function(x, gamma, beta):
        y = normalized(x, gamma, beta)
        return F.relu(y) if case.activation == "relu" else y
    return differentiated(case, function, {})


def updates(case):
    if case.update["variance"] != "sample":
        names = ["running_mean"]
    else:
        names = ["running_mean", "running_variance"]
    # A module keeps its statistics in the type it was converted to.
    running = [given(case, name).to(TYPES[case.type]) for name in ("running_mean", "running_variance")]
    for x in case.batches:
        F.batch_norm(channels_second(case, x), *running, None, None, True, case.update["weight_of_new"], case.epsilon)
    return {name: numpy(value) for name, value in zip(["running_mean", "running_variance"], running) if name in names}


def population(case):
    """As torch.optim.swa_utils.update_bn does it: the average over the batches, momentum=None."""
    norm = torch.nn.BatchNorm1d(case.batches[0].shape[case.channel_axis], momentum=None, dtype=TYPES[case.type])
    for x in case.batches:
        norm(channels_second(case, x))
    outputs = {"running_mean": numpy(norm.running_mean)}
    if case.update["variance"] == "sample":
        outputs["running_variance"] = numpy(norm.running_var)
    return outputs


def chain(case):
    if case.update["variance"] != "sample":
        raise NotImplementedError("the running variance is the sample variance")
    x, count = channels_second(case, case.x), case.x.shape[case.channel_axis]
    kind = {"dtype": TYPES[case.type]}
    layers = [torch.nn.BatchNorm1d(count, case.epsilon, momentum=1.0, affine=False, **kind) for _ in range(case.layers)]
    stack = torch.nn.Sequential(*layers)
    stack.train()(x)
    return {"y": numpy(stack.eval()(x).movedim(1, case.channel_axis))}
