#!/usr/bin/env python3
"""Writes onnx.json: the recorded ONNX operator cases of BatchNormalization (inputs and expected outputs, float32).

    apt-get install libonnx-testdata          # 4 node cases, made by the onnx project's own test generator
    pip install onnx numpy                    # 5 cases once exported from PyTorch, inside the wheel
    python make_onnx.py                       # in this folder

Each float32 is written as the double it converts to (shortest decimal that reads back as that double).
The schema is in README.md.
"""
import glob
import hashlib
import json
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = "/usr/share/libonnx-testdata/data/node"
CONVERTED = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data/pytorch-converted")
INPUT_NAMES = ["x", "scale", "bias", "mean", "var"]
OUTPUT_NAMES = ["y", "running_mean", "running_var"]


def read_tensor(path):
    t = onnx.TensorProto()
    with open(path, "rb") as f:
        t.ParseFromString(f.read())
    a = numpy_helper.to_array(t)
    assert a.dtype == np.float32, path
    return t.name, a


def tensor_json(a):
    if a is None:
        return None
    assert np.isfinite(a).all()
    return {"shape": list(a.shape), "data": [float(v) for v in a.reshape(-1)]}


def ulps(got, want):
    """Largest |got - want| in units in the last place of the float32 max |want| (got: the same formula in float64)."""
    unit = np.spacing(np.float32(np.abs(want).max()))
    return float("%.3g" % (np.abs(got - want.astype(np.float64)).max() / np.float64(unit)))


def case(folder, source):
    model_path = os.path.join(folder, "model.onnx")
    model = onnx.load(model_path)
    graph = model.graph
    nodes = [n for n in graph.node if n.op_type == "BatchNormalization"]
    assert len(nodes) == 1, folder
    node = nodes[0]
    others = [n.op_type for n in graph.node if n is not node]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    known = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    initializers = [INPUT_NAMES[list(node.input).index(n)] for n in known]
    data = os.path.join(folder, "test_data_set_0")
    free = [i.name for i in graph.input if i.name not in known]
    assert len(free) == len(glob.glob(os.path.join(data, "input_*.pb")))
    for i, name in enumerate(free):
        stored, a = read_tensor(os.path.join(data, f"input_{i}.pb"))
        assert stored in ("", name), (stored, name)
        known[name] = a
    inputs = {k: known[n] for k, n in zip(INPUT_NAMES, node.input)}
    assert all(a.dtype == np.float32 for a in inputs.values())
    outputs = dict.fromkeys(OUTPUT_NAMES)
    by_name = {o.name: i for i, o in enumerate(graph.output)}
    for k, n in zip(OUTPUT_NAMES, node.output):
        outputs[k] = read_tensor(os.path.join(data, f"output_{by_name[n]}.pb"))[1]
    assert all(o == n for o, n in zip([o.name for o in graph.output], node.output)), "outputs are not those of the node"

    eps = float(np.float32(attributes.get("epsilon", 1e-5)))
    old = float(np.float32(attributes.get("momentum", 0.9)))
    training = bool(attributes.get("training_mode", 0))
    # the same formula in float64, as a check that the file is read rightly
    x = inputs["x"].astype(np.float64)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    axes = tuple(i for i in range(x.ndim) if i != 1)
    scale, bias, mean, var = (inputs[k].astype(np.float64) for k in INPUT_NAMES[1:])
    m, v = (x.mean(axes), x.var(axes)) if training else (mean, var)
    y = (x - m.reshape(shape)) / np.sqrt(v.reshape(shape) + eps) * scale.reshape(shape) + bias.reshape(shape)
    check = {"y": ulps(y, outputs["y"])}
    if training:
        check["running_mean"] = ulps(mean * old + m * (1 - old), outputs["running_mean"])
        check["running_var"] = ulps(var * old + v * (1 - old), outputs["running_var"])
        n = x.size // x.shape[1]
        check["running_var_if_it_were_sample"] = ulps(var * old + v * n / (n - 1) * (1 - old), outputs["running_var"])
    opset = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    with open(model_path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    return {
        "name": os.path.basename(folder), "source": source, "model_sha256": digest,
        "producer": f"{model.producer_name} {model.producer_version}".strip(), "ir_version": model.ir_version,
        "opset": opset["ai.onnx"], "other_nodes": others, "initializers": initializers,
        "attributes": {k: (float(a) if isinstance(a, float) else a) for k, a in attributes.items()},
        "config": {"channels": int(inputs["scale"].shape[0]), "epsilon": eps, "weight_of_old_value": old,
                   "training": training, "running_var_estimator": "population"},
        "inputs": {k: tensor_json(inputs[k]) for k in INPUT_NAMES},
        "expect": {k: tensor_json(outputs[k]) for k in OUTPUT_NAMES},
        "ulps_from_float64": check,
    }


def main():
    cases = [case(f, "libonnx-testdata data/node") for f in sorted(glob.glob(NODE + "/test_batchnorm_*"))]
    cases += [case(f, "onnx wheel backend/test/data/pytorch-converted") for f in sorted(glob.glob(CONVERTED + "/test_BatchNorm*"))]
    assert len(cases) == 9, [c["name"] for c in cases]
    testdata = "unknown"
    with open("/var/lib/dpkg/status", encoding="utf-8") as f:
        for block in f.read().split("\n\n"):
            if block.startswith("Package: libonnx-testdata\n"):
                testdata = [line.split(": ", 1)[1] for line in block.splitlines() if line.startswith("Version: ")][0]
    head = {
        "made_by": "crates/batchnorm/tests/golden/make_onnx.py",
        "versions": {"onnx": onnx.__version__, "libonnx-testdata": testdata, "numpy": np.__version__,
                     "python": sys.version.split()[0]},
    }
    text = json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n'
    text += ",\n".join(json.dumps(c, separators=(",", ":"), allow_nan=False) for c in cases)
    text += "\n]}\n"
    json.loads(text)
    with open(os.path.join(HERE, "onnx.json"), "w", encoding="utf-8") as f:
        f.write(text)
    print(len(cases), "cases", len(text), "bytes")
    for c in cases:
        print(c["name"], c["opset"], c["attributes"], c["config"], c["other_nodes"], c["initializers"], c["inputs"]["x"]["shape"], c["ulps_from_float64"])


if __name__ == "__main__":
    main()
