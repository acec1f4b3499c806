"""Holds exported networks against the networks: in onnxruntime, folded too, and in torch where it is installed.

    python3 exported.py PROGRAM SCORES [--torch]

PROGRAM is `batchnorm`, SCORES the example `scores` of batchnorm-lab, which gives a network's scores before rounding. Networks of every kind and norm are
trained for a few steps from seed 1 and exported; on the same standardised inputs of seed 24 the outputs may differ by 1e-5 of the largest score. Then the
recipes: bytes of pictures, prepared by what the metadata say, and rows of a table as they are. Needs onnx, onnxruntime and numpy; without torch
that part says that it was skipped, with --torch it fails. Exit code 1 where something differs.
"""

import json
import struct
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

SEED = 24
MOST = 1e-5
STAGES = "stages = [{ channels = 4, blocks = 1 }, { channels = 8, blocks = 2 }]\n"
NETWORKS = {
    "fully connected": "hidden = [24, 16]\n",
    "convolutions": "hidden = [16]\nconvolutions = [{ channels = 8, kernel = 3, pool = 2 }, { channels = 12, kernel = 5 }]\n",
    "pooled unevenly": "hidden = []\nconvolutions = [{ channels = 8, kernel = 3, pool = 3 }]\n",
    "residual": "hidden = []\nconvolutions = [{ channels = 4, kernel = 3 }]\n" + STAGES,
    "residual, hidden": "hidden = [12]\nconvolutions = [{ channels = 4, kernel = 3, pool = 2 }]\ndropout = 0.3\n" + STAGES,
}
NORMS = ["none", "batch", "renorm", "layer", "group", "instance", "rms", "decorrelated"]


class Different(Exception):
    """An export that does something else than its network."""


def kinds():
    """Name, TOML, flags: every network with every norm, before the activation, and each placement and activation with some."""
    for network, toml in NETWORKS.items():
        for norm in NORMS:
            if (norm, network) != ("instance", "fully connected"):
                yield f"{network}, {norm}", toml, ["--norm", norm]
        yield f"{network}, batch behind tanh", toml, ["--norm", "batch", "--placement", "after", "--activation", "tanh"]
        yield f"{network}, layer behind ReLU", toml, ["--norm", "layer", "--placement", "after"]
        yield f"{network}, group before sigmoid", toml, ["--norm", "group", "--activation", "sigmoid"]
    yield "fully connected, epsilon 0.02", NETWORKS["fully connected"], ["--norm", "batch", "--epsilon", "0.02"]


def sessions(path):
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        yield onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def difference(expected, got):
    """Relative to the largest score."""
    assert expected.shape == got.shape, (expected.shape, got.shape)
    expected, got = expected.astype(np.float64), got.astype(np.float64)
    return float(np.max(np.abs(expected - got)) / np.max(np.abs(expected)))


class Folder:
    """Where one program trains and exports."""

    def __init__(self, program, scores, path):
        self.program, self.example, self.path = program, scores, Path(path)

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], cwd=self.path, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
        return done.stdout

    def train(self, toml, *more, data="digits"):
        (self.path / "network.toml").write_text(toml)
        self.run("train", "--data", data, "--network", "network.toml", "--steps", "30", "--seed", "1", "--restart", "--threads", "1",
                 "--output", "model.safetensors", *more)

    def scores(self, inputs, *more):
        np.save(self.path / "in.npy", np.ascontiguousarray(inputs, np.float32))
        subprocess.run([self.example, "model.safetensors", "in.npy", "scores.npy", *more], cwd=self.path, check=True)
        return np.load(self.path / "scores.npy")

    def export(self, name, *more):
        self.run("export", "model.safetensors", name, *more)
        return self.path / name

    def in_onnxruntime(self, name, inputs, *more):
        path = self.export(name, *more)
        onnx.checker.check_model(str(path), full_check=True)
        # One example alone too: the length of the axis is open.
        return [(session.run(None, {"input": inputs})[0], session.run(None, {"input": inputs[:1]})[0]) for session in sessions(path)]


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def prepared(recipe, pictures):
    """Bytes [N, channels, rows, columns] of the network's own size, by a recipe."""
    recipe = tomllib.loads(recipe)
    by_channel = lambda numbers: np.array(numbers).reshape(-1, 1, 1)
    values = pictures * recipe["scale"]
    if recipe.get("mean"):
        values = (values - by_channel(recipe["mean"])) / by_channel(recipe["sd"])
    return values.astype(np.float32)


def networks(folder, random, torch):
    worst = {}
    inputs = random.normal(size=(17, 1, 8, 8)).astype(np.float32)
    for kind, toml, flags in kinds():
        folder.train(toml, *flags)
        expected = folder.scores(inputs)
        found = {}
        for name, more in (("plain.onnx", []), ("folded.onnx", ["--fold"])):
            for scores, alone in folder.in_onnxruntime(name, inputs, *more):
                found[name] = max(found.get(name, 0.0), difference(expected, scores), difference(expected[:1], alone))
        if torch and "decorrelated" not in kind:
            scores = torch(folder.export("weights.safetensors"), inputs)
            found["torch"] = difference(expected, scores)
        wrong = {name for name, error in found.items() if not error <= MOST}
        print(f"{'WRONG: ' if wrong else ''}{kind}: " + ", ".join(f"{name} {error:.1e}" for name, error in found.items()))
        network = kind.split(",")[0]
        worst[network] = max(worst.get(network, 0.0), *found.values())
        if wrong:
            raise Different(kind)
    return worst


def idx(folder, name, array):
    shape = b"".join(struct.pack(">I", length) for length in array.shape)
    (folder / name).write_bytes(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())


def sets(folder, random):
    """Data sets of other kinds: name, where it is, what one shape of inputs is, of bytes or numbers."""
    path = folder.path / "idx"
    path.mkdir()
    for part, count in (("train", 120), ("t10k", 30)):
        labels = np.arange(count, dtype=np.uint8) % 3
        pictures = (random.integers(0, 60, (count, 9, 12)) + 60 * labels[:, None, None]).astype(np.uint8)
        idx(path, f"{part}-images-idx3-ubyte", pictures)
        idx(path, f"{part}-labels-idx1-ubyte", labels)
    yield "IDX files of 9 x 12", "idx", (1, 9, 12), NETWORKS["convolutions"]
    path = folder.path / "cifar"
    path.mkdir()
    for batch in range(6):
        records = random.integers(0, 256, (40, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(40) % 10
        # Each colour has a mean and deviation of its own.
        records[:, 1:1025] //= 2
        records[:, 1025:2049] = records[:, 1025:2049] // 4 + 150
        name = "test_batch.bin" if batch == 5 else f"data_batch_{batch + 1}.bin"
        (path / name).write_bytes(records.tobytes())
    yield "CIFAR's batches", "cifar", (3, 32, 32), NETWORKS["residual"]
    rows = np.column_stack([random.normal(size=300), 3e5 + 0.5 * random.normal(size=300), np.full(300, 7.5), 1e-4 * random.normal(size=300)])
    labels = (rows[:, 0] + (rows[:, 1] - 3e5) > 0).astype(int)
    # (As the network reads them: f32.)
    rows = rows.astype(np.float32)
    lines = [",".join([*(repr(float(value)) for value in row), str(label)]) for row, label in zip(rows, labels)]
    (folder.path / "table.csv").write_text("\n".join(lines) + "\n")
    yield "a table with a mean of 3e5 deviations and a column that never changes", "table.csv", rows[:40], NETWORKS["fully connected"]
    yield "the embedded digits", "digits", (1, 8, 8), NETWORKS["fully connected"]


def data(folder, random):
    worst = {}
    for name, place, shape, toml in sets(folder, random):
        for more in ([], ["--unscaled"]):
            if place == "table.csv" and more:
                continue # (3e5 as it is would be all that the network sees.)
            folder.train(toml, "--norm", "batch", *more, data=place)
            path = folder.export("data.onnx")
            if isinstance(shape, tuple):
                pictures = random.integers(0, 256, (13, *shape)).astype(np.uint8)
                inputs, raw = prepared(metadata(path)["batchnorm.recipe"], pictures), pictures.astype(np.float32) / np.float32(255)
            else:
                assert "batchnorm.recipe" not in metadata(path)
                # (Also where the column that never changed has another value.)
                inputs = raw = shape + np.float32([0, 0, 1, 0])
            expected = folder.scores(raw, "--raw")
            error = max(difference(expected, session.run(None, {"input": inputs})[0]) for session in sessions(path))
            wrong = not error <= MOST
            print(f"{'WRONG: ' if wrong else ''}by the recipe of {name}{' (unscaled)' if more else ''}: {error:.1e}")
            worst[name] = max(worst.get(name, 0.0), error)
            if wrong:
                raise Different(name)
    return worst


def in_torch():
    """A function from a safetensors file and inputs to scores, by a torch.nn.Module of the network that the file describes."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file
    from torch import nn

    class Rms(nn.Module):
        """RMS norm with a gamma for each channel, over all of an example: torch has it over the last axes, with a gamma for each value."""

        def __init__(self, channels, epsilon):
            super().__init__()
            self.weight, self.epsilon = nn.Parameter(torch.ones(channels)), epsilon

        def forward(self, x):
            square = (x * x).mean(dim=tuple(range(1, x.dim())), keepdim=True)
            return x / torch.sqrt(square + self.epsilon) * self.weight.reshape(-1, *[1] * (x.dim() - 2))

    def norm(network, channels, is_plane):
        epsilon = network["epsilon"]
        batch = nn.BatchNorm2d if is_plane else nn.BatchNorm1d
        return {
            "none": lambda: None,
            "batch": lambda: batch(channels, epsilon),
            "renorm": lambda: batch(channels, epsilon),
            "layer": lambda: nn.GroupNorm(1, channels, epsilon) if is_plane else nn.LayerNorm(channels, epsilon),
            "group": lambda: nn.GroupNorm(network["groups"], channels, epsilon),
            "instance": lambda: nn.InstanceNorm2d(channels, epsilon, affine=True) if is_plane else None,
            "rms": lambda: Rms(channels, epsilon),
        }[network["norm"]]()

    class Layer(nn.Module):
        """A map called `linear` or `convolution`, and its norm."""

        def __init__(self, network, name, build, channels):
            super().__init__()
            self.norm = norm(network, channels, name == "convolution")
            self.add_module(name, build(self.norm is None or network["placement"] == "after"))
            self.map, self.network = name, network

        def mapped(self, x):
            return getattr(self, self.map)(x)

        def normed(self, x):
            return x if self.norm is None else self.norm(x)

        def forward(self, x):
            f, x = getattr(torch, self.network["activation"]), self.mapped(x)
            return f(self.normed(x)) if self.network["placement"] == "before" else self.normed(f(x))

    def convolution(network, inputs, channels, kernel, stride=1):
        build = lambda bias: nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=bias)
        return Layer(network, "convolution", build, channels)

    class Block(nn.Module):
        def __init__(self, network, inputs, channels, stride):
            super().__init__()
            self.first, self.second = convolution(network, inputs, channels, 3, stride), convolution(network, channels, channels, 3)
            changes = inputs != channels or stride != 1
            self.shortcut = convolution(network, inputs, channels, 1, stride) if changes else None
            self.network = network

        def forward(self, x):
            f = getattr(torch, self.network["activation"])
            past = x if self.shortcut is None else self.shortcut.normed(self.shortcut.mapped(x))
            x = self.second.mapped(self.first(x))
            if self.second.norm is not None and self.network["placement"] == "after":
                return self.second.norm(f(x)) + past
            return f(self.second.normed(x) + past)

    class Network(nn.Module):
        def __init__(self, network, input, classes):
            super().__init__()
            channels, rows, columns = input
            self.convolutions, self.blocks, self.hidden = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
            for one in network["convolutions"]:
                self.convolutions.append(convolution(network, channels, one["channels"], one["kernel"]))
                channels, rows, columns = one["channels"], rows // one["pool"], columns // one["pool"]
            for at, stage in enumerate(network["stages"]):
                for block in range(stage["blocks"]):
                    self.blocks.append(Block(network, channels, stage["channels"], 2 if at > 0 and block == 0 else 1))
                    channels = stage["channels"]
            inputs = channels if network["stages"] else channels * rows * columns
            for units in network["hidden"]:
                self.hidden.append(Layer(network, "linear", lambda bias: nn.Linear(inputs, units, bias), units))
                inputs = units
            self.output, self.network = nn.Linear(inputs, classes), network

        def forward(self, x):
            for layer, one in zip(self.convolutions, self.network["convolutions"]):
                x = nn.functional.max_pool2d(layer(x), one["pool"]) if one["pool"] > 1 else layer(x)
            for block in self.blocks:
                x = block(x)
            x = x.mean((2, 3)) if len(self.blocks) else x.flatten(1)
            for layer in self.hidden:
                x = layer(x)
            return self.output(x)

    def scores(path, inputs):
        notes = safe_open(path, "pt").metadata()
        network = Network(tomllib.loads(notes["batchnorm.network"]), inputs.shape[1:], len(json.loads(notes["batchnorm.classes"])))
        network.load_state_dict(load_file(path), strict=True)
        with torch.no_grad():
            return network.eval()(torch.tensor(inputs)).numpy()

    return scores


def main():
    program, scores = (str(Path(path).resolve()) for path in sys.argv[1:3])
    try:
        torch = in_torch()
    except ImportError as missing:
        if "--torch" in sys.argv[3:]:
            sys.exit(f"--torch: {missing}")
        torch = None
    print(f"seeds: trainings 1, inputs {SEED}; allowed {MOST:.0e} of the largest score")
    with tempfile.TemporaryDirectory() as path:
        folder, random = Folder(program, scores, path), np.random.default_rng(SEED)
        try:
            worst = {**networks(folder, random, torch), **data(folder, random)}
        except Different as kind:
            sys.exit(f"differs: {kind}")
    print("largest differences: " + ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items()))
    print("torch: the same, with strict=True" if torch else "SKIPPED: the weights in torch, which is not installed here")


main()
