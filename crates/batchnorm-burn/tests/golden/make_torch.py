"""Writes what tests/pytorch.rs and tests/drop_in.rs load: small trained networks as torch keeps them, and their outputs.

Run: PYTHONPATH=<folder with safetensors> python make_torch.py    (made with torch 2.15.0, safetensors 0.8.0)
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(7)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.output = nn.Linear(48, 4)

    def forward(self, x):
        return self.output(torch.relu(self.norm(self.conv(x))).flatten(1))


class Mlp(nn.Module):
    """tests/models/mlp.rs with 16 units."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(64, 16), nn.Linear(16, 16)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(16), nn.BatchNorm1d(16)])
        self.output = nn.Linear(16, 10)

    def forward(self, x):
        x = x.flatten(1)
        for hidden, norm in zip(self.hidden, self.norms):
            x = torch.relu(norm(hidden(x)))
        return self.output(x)


class ConvBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding="same")
        self.norm = nn.BatchNorm2d(outputs, eps=1e-4, momentum=0.2)

    def forward(self, x):
        return nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)


class Cnn(nn.Module):
    """tests/models/cnn.rs for images of 8x8."""

    def __init__(self):
        super().__init__()
        self.first, self.second = ConvBlock(1, 4), ConvBlock(4, 8)
        self.output = nn.Linear(32, 10)

    def forward(self, x):
        return self.output(self.second(self.first(x)).flatten(1))


def train(net, shape, classes):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(torch.randn(shape) * 2 + 1), torch.randint(0, classes, shape[:1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    return {key: value.detach().clone() for key, value in net.state_dict().items()}


if __name__ == "__main__":
    net = Net()
    state = train(net, (8, 2, 6, 6), 4)
    here = Path(__file__).parent
    assert "norm.num_batches_tracked" in state
    save_file(state, here / "torch_net.safetensors")
    del state["norm.num_batches_tracked"]
    save_file(state, here / "torch_net_without_count.safetensors")
    x = torch.randn(5, 2, 6, 6) * 2 + 1
    with torch.no_grad():
        save_file({"x": x, "y": net(x)}, here / "torch_net_output.safetensors")
    for name, net in [("mlp", Mlp()), ("cnn", Cnn())]:
        save_file(train(net, (8, 1, 8, 8), 10), here / f"torch_{name}.safetensors")
        x = torch.randn(5, 1, 8, 8) * 2 + 1
        with torch.no_grad():
            save_file({"x": x, "y": net(x)}, here / f"torch_{name}_output.safetensors")
