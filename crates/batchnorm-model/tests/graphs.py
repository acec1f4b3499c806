"""Folds models and runs them in onnxruntime before and after.

    python3 graphs.py PROGRAM [MODEL SHAPE ...]

The nineteen graphs of models.md (4a), made here by `onnx`: each is folded or left alone as it should be, and runs to the same outputs; then
each MODEL on random input of its SHAPE (4x3x48x192). The outputs may differ by max(1e-5, 4 floors) of the largest: the floor is what the
original differs from itself by, with onnxruntime's optimiser on, and with two threads. Needs onnx, onnxruntime and numpy. Exit code 1 where
something differs.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SEED = 24


def session(path, optimise, threads):
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def difference(one, other):
    """Relative to the largest output."""
    worst = 0.0
    for a, b in zip(one, other):
        if a.dtype.kind == "f":
            a, b = a.astype(np.float64), b.astype(np.float64)
            worst = max(worst, float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 1e-30)))
    return worst


def compare(program, path, shape, folded):
    run = subprocess.run([program, "fold", str(path), str(folded), "--json"], capture_output=True, text=True, check=True)
    report = json.loads(run.stdout)
    onnx.checker.check_model(str(folded))
    random = np.random.default_rng(SEED)
    original = session(path, False, 1)
    inputs = {original.get_inputs()[0].name: random.uniform(-1, 1, shape).astype(np.float32)}
    outputs = original.run(None, inputs)
    floor = max(difference(outputs, session(path, True, 1).run(None, inputs)), difference(outputs, session(path, False, 2).run(None, inputs)))
    error = difference(outputs, session(folded, False, 1).run(None, inputs))
    return report, error, floor


def graphs():
    """Name, nodes, input shape, weights by name and shape, how many are folded."""
    random = np.random.default_rng(SEED)
    node = helper.make_node

    def bn(name, x, y):
        return node("BatchNormalization", [x, *(f"{name}_{what}" for what in "gbmv")], [y], name=name)

    def tensors(**shapes):
        return {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}

    def vectors(name, channels):
        made = {f"{name}_{what}": random.uniform(-1, 1, channels).astype(np.float32) for what in "gbm"}
        return {**made, f"{name}_v": random.uniform(0.2, 2, channels).astype(np.float32)}

    conv = lambda x="x", y="a", w="w", **more: node("Conv", [x, w], [y], **more)
    five = vectors("n", 5)
    yield "Conv 1d", [conv(), bn("n", "a", "y")], [2, 3, 9], {**tensors(w=(5, 3, 3)), **five}, 1
    yield "Conv 2d", [conv(), bn("n", "a", "y")], [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five}, 1
    yield "Conv 3d", [conv(), bn("n", "a", "y")], [2, 3, 5, 5, 5], {**tensors(w=(5, 3, 3, 3, 3)), **five}, 1
    both = [conv(), conv(y="z"), bn("n", "a", "p"), node("Add", ["p", "z"], ["y"])]
    yield "shared weight", both, [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five}, 1
    padded = [node("Pad", ["x", "pads"], ["q"]), conv("q"), bn("n", "a", "y")]
    pads = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    yield "Pad, Conv", padded, [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five, **pads}, 1
    still = {**five, "n_v": np.zeros(5, np.float32)}
    yield "variance 0", [conv(), bn("n", "a", "y")], [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **still}, 1
    transposed = lambda **more: node("ConvTranspose", ["x", "w"], ["a"], **more)
    yield "ConvTranspose", [transposed(), bn("n", "a", "y")], [2, 4, 5, 5], {**tensors(w=(4, 5, 3, 3)), **five}, 1
    six = vectors("n", 6)
    yield "ConvTranspose, grouped", [transposed(group=2), bn("n", "a", "y")], [2, 4, 5, 5], {**tensors(w=(4, 3, 3, 3)), **six}, 1
    four = vectors("n", 4)
    yield "ConvTranspose, depthwise", [transposed(group=4), bn("n", "a", "y")], [2, 4, 5, 5], {**tensors(w=(4, 1, 3, 3)), **four}, 1
    same = [conv(), node("Identity", ["a"], ["b"]), bn("n", "b", "y")]
    yield "through Identity", same, [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five}, 1
    yield "Gemm", [node("Gemm", ["x", "w", "c"], ["a"], transB=1), bn("n", "a", "y")], [4, 3], {**tensors(w=(5, 3), c=(5,)), **five}, 1
    product = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "c"], ["a"]), bn("n", "a", "y")]
    yield "MatMul, Add", product, [4, 3], {**tensors(w=(3, 5), c=(5,)), **five}, 1
    three = vectors("n", 3)
    yield "before Conv", [bn("n", "x", "a"), conv("a", "y")], [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **three}, 1
    yield "before a padding Conv", [bn("n", "x", "a"), conv("a", "y", pads=[1] * 4)], [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **three}, 0
    two = [conv(), bn("n", "a", "b"), bn("m", "b", "y")]
    yield "behind each other", two, [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five, **vectors("m", 5)}, 2
    training = node("BatchNormalization", ["a", "n_g", "n_b", "n_m", "n_v"], ["y", "mean", "var"], training_mode=1)
    yield "training mode", [conv(), training], [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five}, 0
    used = [conv(), bn("n", "a", "b"), node("Add", ["a", "b"], ["y"])]
    yield "the layer's output used twice", used, [2, 3, 9, 9], {**tensors(w=(5, 3, 3, 3)), **five}, 0
    yield "the layer's output given out", [conv(), bn("n", "a", "y"), node("Identity", ["a"], ["a2"])], [2, 3, 9, 9], {
        **tensors(w=(5, 3, 3, 3)), **five}, 0
    flat = [bn("n", "x", "a"), node("Flatten", ["a"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    yield "a row of each example", flat, [2, 3, 4, 4], {**tensors(w=(48, 5)), **three}, 1


def main():
    program, models = sys.argv[1], sys.argv[2:]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        path, folded = Path(folder) / "graph.onnx", Path(folder) / "folded.onnx"
        for name, nodes, shape, tensors, expected in graphs():
            graph = helper.make_graph(
                nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * (2 if name.startswith("a row") else len(shape)))],
                [numpy_helper.from_array(value, key) for key, value in tensors.items()])
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
            report, error, floor = compare(program, path, shape, folded)
            right = report["folded"] == expected and error <= max(1e-5, 4 * floor)
            kept = "; ".join(kept["reason"] for kept in report["kept"])
            print(f"{'' if right else 'WRONG: '}{name}: {report['folded']} folded, error {error:.1e}, floor {floor:.1e} {kept}")
            failed |= not right
        for path, shape in zip(models[::2], models[1::2]):
            report, error, floor = compare(program, path, [int(length) for length in shape.split("x")], folded)
            right = error <= max(1e-5, 4 * floor)
            print(f"{'' if right else 'WRONG: '}{path}: {report['folded']} of {report['batch_norms']} folded, error {error:.1e}, floor {floor:.1e}")
            failed |= not right
    sys.exit(failed)


main()
