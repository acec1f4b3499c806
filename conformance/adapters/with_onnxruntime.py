"""onnxruntime's CPU provider: one operator as a model of its own. No gradients: they are not in the operators."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

VERSION = onnxruntime.__version__
TYPES = {"f64": (TensorProto.DOUBLE, np.float64), "f32": (TensorProto.FLOAT, np.float32),
         "f16": (TensorProto.FLOAT16, np.float16)}
# The oldest that has what is needed of each operator.
OPERATORS = {"batch": ("BatchNormalization", 15), "instance": ("InstanceNormalization", 15),
             "layer": ("LayerNormalization", 17), "group": ("GroupNormalization", 21), "rms": ("RMSNormalization", 23)}

onnxruntime.set_default_logger_severity(4)


def solve(case):
    if case.type not in TYPES:
        raise NotImplementedError("no bfloat16")
    if case.weights is not None:
        raise NotImplementedError("no weights")
    if case.dy is not None and case.dy.shape != case.x.shape:
        raise NotImplementedError("no gradients: what dy is, is not looked at")
    if case.norm != "batch":
        return forward(case)
    return {"train": trained, "eval": evaluated, "updates": updates, "chain": chain}.get(case.operation, unknown)(case)


def unknown(case):
    raise NotImplementedError(f"no operator does {case.operation}")


def vector(value, shape, absent):
    return np.full(shape, absent) if value is None else value


def channels_second(case, x):
    return np.ascontiguousarray(np.moveaxis(x, case.channel_axis, 1))


def batch_norm(case, x, mean, variance, training):
    """y of x with the channels second, and the running mean and variance behind it."""
    channels = x.shape[1]
    inputs = {"x": x, "scale": vector(case.gamma, channels, 1), "bias": vector(case.beta, channels, 0),
              "mean": vector(mean, channels, 0), "variance": vector(variance, channels, 1)}
    if not training:
        return run(case, inputs, {"epsilon": case.epsilon}, ["y"])
    # ONNX' momentum is the weight of the old value.
    momentum = 1 - (case.update["weight_of_new"] if case.update else 0.1)
    attributes = {"epsilon": case.epsilon, "momentum": momentum, "training_mode": 1}
    return run(case, inputs, attributes, ["y", "running_mean", "running_variance"])


def kept(case, mean, variance):
    """What is asked for of the running statistics; ONNX knows the population variance alone."""
    population = case.update["variance"] == "population"
    return {"running_mean": mean, "running_variance": variance if population else None}


def trained(case):
    x = channels_second(case, case.x)
    y, mean, variance = batch_norm(case, x, case.running_mean, case.running_variance, True)
    outputs = {"y": np.moveaxis(y, 1, case.channel_axis)}
    return outputs if case.update is None else outputs | kept(case, mean, variance)


def evaluated(case):
    (y,) = batch_norm(case, channels_second(case, case.x), case.running_mean, case.running_variance, False)
    return {"y": np.moveaxis(y, 1, case.channel_axis)}


def updates(case):
    mean, variance = case.running_mean, case.running_variance
    for x in case.batches:
        _, mean, variance = batch_norm(case, channels_second(case, x), mean, variance, True)
    return kept(case, mean, variance)


def chain(case):
    if case.update["variance"] != "population":
        raise NotImplementedError("the running variance is the population variance")
    trained = evaluated = channels_second(case, case.x)
    for _ in range(case.layers):
        trained, mean, variance = batch_norm(case, trained, None, None, True)
        (evaluated,) = batch_norm(case, evaluated, mean, variance, False)
    return {"y": np.moveaxis(evaluated, 1, case.channel_axis)}


def forward(case):
    if case.norm not in OPERATORS:
        raise NotImplementedError(f"no operator for {case.norm}")
    if case.norm in ("layer", "rms"):
        own = case.x.shape[len(case.x.shape) - case.axes:]
        inputs = {"x": np.ascontiguousarray(case.x), "scale": vector(case.gamma, own, 1)}
        if case.norm == "layer":
            inputs["bias"] = vector(case.beta, own, 0)
        elif case.beta is not None and np.any(case.beta):
            raise NotImplementedError("RMSNormalization has no bias")
        return {"y": run(case, inputs, {"epsilon": case.epsilon, "axis": -case.axes}, ["y"])[0]}
    x = channels_second(case, case.x)
    inputs = {"x": x, "scale": vector(case.gamma, x.shape[1], 1), "bias": vector(case.beta, x.shape[1], 0)}
    groups = {"num_groups": case.groups} if case.norm == "group" else {}
    (y,) = run(case, inputs, {"epsilon": case.epsilon, **groups}, ["y"])
    return {"y": np.moveaxis(y, 1, case.channel_axis)}


def run(case, inputs, attributes, names):
    (kind, dtype), (operator, opset) = TYPES[case.type], OPERATORS[case.norm]
    inputs = {name: np.asarray(value, dtype) for name, value in inputs.items()}
    described = [helper.make_tensor_value_info(name, kind, value.shape) for name, value in inputs.items()]
    outs = [helper.make_tensor_value_info(name, kind, None) for name in names]
    if case.activation is None:
        nodes = [helper.make_node(operator, list(inputs), names, **attributes)]
    else:
        nodes = [helper.make_node(operator, list(inputs), ["z", *names[1:]], **attributes),
                 helper.make_node("Relu", ["z"], names[:1])]
    graph = helper.make_graph(nodes, "case", described, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise NotImplementedError(str(error).splitlines()[0]) from error
    return session.run(None, inputs)
