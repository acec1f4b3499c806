"""Whether torch reads what tests/pytorch.rs wrote, strictly, and computes the same from it.

Run: PYTHONPATH=<folder with safetensors> python check_torch.py <folder the test printed>
"""
import sys
from pathlib import Path

import torch
from make_torch import Net
from safetensors.torch import load_file

folder = Path(sys.argv[1])
x = load_file(Path(__file__).parent / "torch_net_output.safetensors")["x"]
ours = torch.tensor([float(line) for line in (folder / "from_burn_output.txt").read_text().split()])
# Without the count torch keeps its own, 0.
for name, count in [("from_burn.safetensors", 0), ("from_burn_with_count.safetensors", 20)]:
    net = Net()
    print(name, net.load_state_dict(load_file(folder / name), strict=True))
    tracked = net.norm.num_batches_tracked
    assert (tracked.item(), tracked.dtype, tracked.shape) == (count, torch.int64, torch.Size([])), tracked
    net.eval()
    with torch.no_grad():
        error = (net(x).flatten() - ours).abs().max().item()
    print("num_batches_tracked", tracked.item(), "greatest difference of the output:", error)
    assert error <= 1e-6 * max(1.0, ours.abs().max().item())
