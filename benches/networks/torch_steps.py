"""Seconds of training steps in torch, line for line as batchnorm's example `training_steps` has them.

Started by `run`: python torch_steps.py NETWORK EXAMPLES THREADS
"""

import sys
import time

import torch
from torch import nn

CLASSES, BATCHES = 10, 4


class Block(nn.Module):
    """A residual block, norms before the activations (He et al. 2016), a convolution of 1 x 1 where the shape changes."""

    def __init__(self, channels, outputs, stride):
        super().__init__()
        self.first = normed(channels, outputs, 3, stride)
        self.second = normed(outputs, outputs, 3, 1)
        changes = stride != 1 or channels != outputs
        self.shortcut = normed(channels, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def normed(channels, outputs, kernel, stride):
    convolution = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def hidden(inputs, units):
    return [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]


NETWORKS = {
    "mlp": lambda: [nn.Flatten(), *hidden(784, 100), *hidden(100, 100), *hidden(100, 100), nn.Linear(100, CLASSES)],
    "course": lambda: [normed(3, 32, 7, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), *hidden(8192, 100),
                       nn.Linear(100, CLASSES)],
    "resnet8": lambda: [normed(3, 16, 3, 1), nn.ReLU(), Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)],
}

name, size, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(21)
network = nn.Sequential(*NETWORKS[name]())
shape = (1, 28, 28) if name == "mlp" else (3, 32, 32)
batches = [(torch.rand(size, *shape) * 4 - 2, torch.randint(0, CLASSES, (size,))) for _ in range(BATCHES)]
of_norms = {id(p) for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for p in m.parameters()}
decayed = [p for p in network.parameters() if id(p) not in of_norms]
norms = [p for p in network.parameters() if id(p) in of_norms]
optimizer = torch.optim.SGD([{"params": decayed, "weight_decay": 1e-4}, {"params": norms}], lr=1e-4, momentum=0.9,
                            nesterov=True)
loss_of = nn.CrossEntropyLoss()
print(sum(p.numel() for p in network.parameters()), flush=True)
turn = 0
for line in sys.stdin:
    steps = int(line)
    start = time.perf_counter()
    for _ in range(steps):
        values, classes = batches[turn % BATCHES]
        turn += 1
        optimizer.zero_grad()
        loss = loss_of(network(values), classes)
        # Read, as ours is: a training that does not look at its loss does not notice that it diverged.
        loss.item()
        loss.backward()
        optimizer.step()
    print(time.perf_counter() - start, flush=True)
