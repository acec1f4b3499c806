"""onnxruntime's CPU provider: one operator as a model of its own. Inference alone: no gradients."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

VERSION = onnxruntime.__version__
TYPES = {"f64": TensorProto.DOUBLE, "f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16}
DTYPES = {"f64": np.float64, "f32": np.float32, "f16": np.float16}
# What the operators need, and no newer: BatchNormalization 15, LayerNormalization 17, GroupNormalization 21,
# RMSNormalization 23.
OPSETS = {"batch": 15, "instance": 15, "layer": 17, "group": 21, "rms": 23}

onnxruntime.set_default_logger_severity(4)


def solve(case):
    if case.type not in TYPES:
        raise NotImplementedError("no bfloat16")
    if case.weights is not None:
        raise NotImplementedError("no weights")
    if case.norm == "batch" and case.operation != "eval":
        raise NotImplementedError("training_mode is not in the CPU build for inference")
    second = np.ascontiguousarray(np.moveaxis(case.x, case.channel_axis, 1))
    channels = second.shape[1]
    if case.norm == "batch":
        node = ("BatchNormalization", {"epsilon": case.epsilon})
        more = {"scale": parameter(case, "gamma", channels, 1), "bias": parameter(case, "beta", channels, 0),
                "mean": case.running_mean, "variance": case.running_variance}
    elif case.norm == "instance":
        node = ("InstanceNormalization", {"epsilon": case.epsilon})
        more = {"scale": parameter(case, "gamma", channels, 1), "bias": parameter(case, "beta", channels, 0)}
    elif case.norm == "group":
        node = ("GroupNormalization", {"epsilon": case.epsilon, "num_groups": case.groups})
        more = {"scale": parameter(case, "gamma", channels, 1), "bias": parameter(case, "beta", channels, 0)}
    else:
        second = case.x
        own = case.x.shape[len(case.x.shape) - case.axes:]
        name = {"layer": "LayerNormalization", "rms": "RMSNormalization"}[case.norm]
        node = (name, {"epsilon": case.epsilon, "axis": -case.axes})
        more = {"scale": parameter(case, "gamma", own, 1)}
        if case.norm == "layer":
            more["bias"] = parameter(case, "beta", own, 0)
        elif case.beta is not None:
            raise NotImplementedError("RMSNormalization has no bias")
    y = run(case, node, {"x": second, **more})
    return {"y": y if second is case.x else np.moveaxis(y, 1, case.channel_axis)}


def parameter(case, name, shape, absent):
    value = case.inputs.get(name)
    return np.full(shape, absent) if value is None else value


def run(case, node, inputs):
    kind, opset = TYPES[case.type], OPSETS[case.norm]
    inputs = {name: np.asarray(value, DTYPES[case.type]) for name, value in inputs.items()}
    described = [helper.make_tensor_value_info(name, kind, value.shape) for name, value in inputs.items()]
    out = helper.make_tensor_value_info("y", kind, inputs["x"].shape)
    graph = helper.make_graph([helper.make_node(node[0], list(inputs), ["y"], **node[1])], "case", described, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise NotImplementedError(str(error).splitlines()[0]) from error
    return session.run(None, inputs)[0]
