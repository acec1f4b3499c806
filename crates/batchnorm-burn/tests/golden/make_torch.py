"""Writes what tests/pytorch.rs loads: a small trained network as torch keeps it, and its output.

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


if __name__ == "__main__":
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(torch.randn(8, 2, 6, 6) * 2 + 1), torch.randint(0, 4, (8,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    here = Path(__file__).parent
    state = {key: value.detach().clone() for key, value in net.state_dict().items()}
    assert "norm.num_batches_tracked" in state
    save_file(state, here / "torch_net.safetensors")
    del state["norm.num_batches_tracked"]
    save_file(state, here / "torch_net_without_count.safetensors")
    x = torch.randn(5, 2, 6, 6) * 2 + 1
    with torch.no_grad():
        save_file({"x": x, "y": net(x)}, here / "torch_net_output.safetensors")
