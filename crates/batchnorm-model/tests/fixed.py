"""Broken exports, mended by `batchnorm inspect --fix` and run in onnxruntime beside plain numpy.

    python3 fixed.py PROGRAM

Models that `onnx` makes here: the four kinds of training mode that exports come with (left on by mistake, never tracked, on constants, as
instance norm), of which two are mended and two explained and left as they are; and what else has one right answer. What onnxruntime makes
of each mended model may differ from numpy's float64 by 1e-5 of the largest output (f16: 2e-3). Needs onnx, onnxruntime and numpy. Exit
code 1 where something is otherwise.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

SEED = 26
CHANNELS = 5
EPSILON = 1e-3

random = np.random.default_rng(SEED)
x = random.uniform(-1, 1, (2, 3, 9, 9))
weight = random.uniform(-1, 1, (CHANNELS, 3, 3, 3))
bias = random.uniform(-2, 2, CHANNELS)
gamma, beta, mean = (random.uniform(-1, 1, CHANNELS) for _ in range(3))
variance = random.uniform(0.2, 2, CHANNELS)
node = helper.make_node


def convolved(weight, bias=None):
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, weight)
    return y if bias is None else y + bias[:, None, None]


def normalised(x, mean, variance):
    of = lambda vector: np.reshape(vector, (1, -1) + (1,) * (x.ndim - 2))
    return of(gamma) * (x - of(mean)) / np.sqrt(of(variance) + EPSILON) + of(beta)


def by_the_batch(x):
    axes = (0,) + tuple(range(2, x.ndim))
    return normalised(x, x.mean(axes), x.var(axes))


def norm(source, target, more=(), **attributes):
    return node("BatchNormalization", [source, "gamma", "beta", "mean", "variance"], [target, *more], name="bn", epsilon=EPSILON, **attributes)


def made(path, opset, nodes, element=np.float32, **tensors):
    """A model of these nodes, with the usual tensors where no other ones are given."""
    usual = {"weight": weight, "gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    taken = {name for each in nodes for name in each.input}
    arrays = {name: array for name, array in {**usual, **tensors}.items() if name in taken}
    kept = [numpy_helper.from_array(array if array.dtype == np.int64 else array.astype(element), name) for name, array in arrays.items()]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(element))
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", kind, list(x.shape))], [helper.make_tensor_value_info("y", kind, [None] * 4)], kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)


def fixed(program, path, output, *more):
    run = subprocess.run([program, "inspect", path, "--fix", output, "--json", *more], capture_output=True, text=True)
    return run.returncode, json.loads(run.stdout)


def outputs(path, element):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype(element)})[0].astype(np.float64)


def cases():
    """Name, opset, nodes, other tensors, the codes that are mended, the codes that are left, the right outputs (none: the file stays)."""
    conv = lambda weight="weight", *bias: node("Conv", ["x", weight, *bias], ["a"], name="conv")
    in_use = normalised(convolved(weight), mean, variance)
    yield "left on, opset 15", 15, [conv(), norm("a", "y", ["m", "v"], training_mode=1)], {}, ["BN009"], [], in_use
    yield "left on, one output", 17, [conv(), norm("a", "y", training_mode=1)], {}, ["BN009"], [], in_use
    yield "left on, opset 9", 9, [conv(), norm("a", "y", ["m", "v", "sm", "sv"])], {}, ["BN009"], [], in_use
    start = {"mean": np.zeros(CHANNELS), "variance": np.ones(CHANNELS)}
    never = [conv(), norm("a", "y", ["m", "v"], training_mode=1)]
    yield "never tracked", 15, never, start, [], ["BN010"], None
    shapes = {"rows": np.array([1, CHANNELS, -1]), "back": np.array([CHANNELS, 3, 3, 3])}
    weights = [node("Reshape", ["weight", "rows"], ["r"]), norm("r", "s", training_mode=1), node("Reshape", ["s", "back"], ["sw"])]
    standardised = by_the_batch(weight.reshape(1, CHANNELS, -1)).reshape(weight.shape)
    yield "on constants", 15, [*weights, node("Conv", ["x", "sw"], ["y"])], {**shapes, **start}, ["BN011"], [], convolved(standardised)
    one = {"one": np.array([1, 2 * CHANNELS, 7, 7]), "all": np.array([2, CHANNELS, 7, 7])}
    twice = {name: np.tile(array, 2) for name, array in {"gamma": gamma, "beta": beta, **start}.items()}
    instances = [conv(), node("Reshape", ["a", "one"], ["r"]), norm("r", "s", ["m", "v"], training_mode=1), node("Reshape", ["s", "all"], ["y"])]
    yield "as instance norm", 15, instances, {**one, **twice}, [], ["BN012"], None
    yield "spatial 0", 8, [conv(), norm("a", "y", spatial=0)], {}, ["BN015"], [], in_use
    before = {"bias": bias, "mean": mean + bias}
    yield "a useless bias", 15, [conv("weight", "bias"), norm("a", "y")], before, ["BN017"], [], in_use
    both = [conv("weight", "bias"), norm("a", "y", ["m", "v"], training_mode=1)]
    yield "a useless bias, left on", 15, both, before, ["BN009", "BN017"], [], in_use
    yield "leftovers of opset 6", 9, [conv(), norm("a", "y", spatial=1, is_test=1)], {}, [None], [], in_use
    yield "f16", 15, [conv(), norm("a", "y")], {}, [None], [], in_use
    yield "f16, opset 13", 13, [conv(), norm("a", "y")], {}, [], [None], None


def main():
    program, failed = sys.argv[1], False
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder) / "broken.onnx", Path(folder) / "mended.onnx"
        for name, opset, nodes, tensors, mended, left, right in cases():
            element = np.float16 if name.startswith("f16") else np.float32
            made(path, opset, nodes, element, **tensors)
            code, report = fixed(program, path, output)
            reasons = "; ".join(f"{one['code']}: {one['reason']}" for one in report["left"])
            as_said = code == 0 and [one["code"] for one in report["fixed"]] == mended and [one["code"] for one in report["left"]] == left
            onnx.checker.check_model(str(output), full_check=True)
            if right is None:
                as_said &= path.read_bytes() == output.read_bytes() and bool(reasons)
                # What is left of errors can be denied in a build.
                errors = any(finding["severity"] == "error" for finding in report["found_in_output"])
                as_said &= fixed(program, path, output, "--deny", "error")[0] == int(errors)
                print(f"{'' if as_said else 'WRONG: '}{name}: left as it is: {reasons}")
            else:
                error = float(np.max(np.abs(outputs(output, element) - right)) / np.max(np.abs(right)))
                as_said &= error <= (2e-3 if element == np.float16 else 1e-5)
                texts = "; ".join(f"{one['code'] or 'no finding'}: {one['text']}" for one in report["fixed"])
                print(f"{'' if as_said else 'WRONG: '}{name}: error {error:.1e}; {texts} {reasons}")
            failed |= not as_said
    sys.exit(failed)


main()
