"""Whether torch reads a file of `batchnorm train`, strictly, and says the same of every embedded digit.

    batchnorm train && batchnorm predict --digits all --json > answers.json
    python check_model.py batchnorm-model.safetensors answers.json     (needs torch, safetensors, numpy)
"""
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

model, answers = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())["answers"]
description = json.loads(safe_open(model, "pt").metadata()["batchnorm"])
batch_norm, architecture = description["batch_norm"], description["architecture"]


class Hidden(torch.nn.Module):
    def __init__(self, inputs, units):
        super().__init__()
        self.linear = torch.nn.Linear(inputs, units, bias=not batch_norm)
        self.norm = torch.nn.BatchNorm1d(units, eps=architecture["epsilon"]) if batch_norm else None

    def forward(self, x):
        sums = self.linear(x)
        return torch.sigmoid(self.norm(sums) if batch_norm else sums)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        widths = [64, *architecture["hidden"]]
        self.hidden = torch.nn.Sequential(*[Hidden(*pair) for pair in zip(widths, widths[1:])])
        self.output = torch.nn.Linear(widths[-1], 10)

    def forward(self, x):
        return self.output(self.hidden(x))


network = Network()
print(network.load_state_dict(load_file(model), strict=True))
network.eval()
digits = np.loadtxt(gzip.open(Path(__file__).parents[2] / "data/digits.csv.gz"), delimiter=",", dtype="f4")
with torch.no_grad():
    theirs = torch.softmax(network(torch.tensor(digits[:, :64] / 16)), 1).numpy()

# The answers come split into training and test, the file does not: both are sorted by class and probabilities.
ours = np.array([[answer["label"], *answer["probabilities"]] for answer in answers])
theirs = np.column_stack([digits[:, 64], theirs])
right = [(table[:, 1:].argmax(1) == table[:, 0]).mean() for table in (ours, theirs)]
print("accuracy, ours and torch's:", right)
assert right[0] == right[1]
for digit in range(10):
    a, b = (np.sort(table[table[:, 0] == digit, 1:], axis=0) for table in (ours, theirs))
    # Ours are rounded to thousandths.
    assert abs(a - b).max() <= 0.0005 + 1e-5, (digit, abs(a - b).max())
print("all probabilities agree to the thousandth")
