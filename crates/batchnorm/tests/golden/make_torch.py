#!/usr/bin/env python3
"""Writes torch.json: batch norm as PyTorch computes it on the CPU in float64, beside the exact values (mpmath, 80 digits).

    pip install torch==2.15.* numpy mpmath expecttest pytest
    python make_torch.py            # in this folder; ten seconds, one thread

Only torch's sample *generators* are called (shapes, arguments, random values, these rounded to 6 decimals); what is written is
recorded numbers; exact.py computes the exact values. Inputs of our own come from numpy's PCG64 and are rounded to a few decimals, so the
file stays small and can be made again. The schema is in README.md.
"""
import json
import os
import sys

import mpmath
import numpy as np
import torch
import torch.nn.functional as F

from exact import EXPECT_KEYS, channels_of, exact_step, mpf, torch_errors

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
F64 = torch.float64
HERE = os.path.dirname(os.path.abspath(__file__))


# ---------------------------------------------------------------- writing

def tensor_json(a):
    if a is None:
        return None
    a = np.asarray(a, dtype=np.float64)
    assert np.isfinite(a).all(), "NaN or infinity in a golden value"
    return {"shape": list(a.shape), "data": [float(v) for v in a.reshape(-1)]}


def values_json(v):
    if v is None:
        return None
    return {k: (v[k] if k == "batches" else tensor_json(v[k])) for k in EXPECT_KEYS}


def rounded(t):
    """torch's random samples to 6 decimals: their last bits depend on the CPU's vector width, these do not."""
    return None if t is None else torch.as_tensor(np.round(t.detach().numpy(), 6))


def npy(t):
    return None if t is None else t.detach().to(F64).contiguous().numpy().copy()


class Case:
    """Collects the steps of one case; carries the exact running statistics unrounded from step to step."""

    def __init__(self, name, source, origin, channels, epsilon, weight, gamma, beta, rm, rv, batches,
                 memory_format="contiguous", record_exact=False, note=None):
        self.name, self.source, self.origin = name, source, origin
        self.channels, self.eps, self.weight = channels, epsilon, weight
        self.gamma, self.beta = npy(gamma), npy(beta)
        self.rm0, self.rv0, self.batches0 = npy(rm), npy(rv), batches
        self.memory_format, self.record_exact, self.note = memory_format, record_exact, note
        self.erm = None if rm is None else [mpf(float(v)) for v in self.rm0]
        self.erv = None if rv is None else [mpf(float(v)) for v in self.rv0]
        self.count = batches
        self.steps, self.error = [], {}

    def add(self, training, x, dy, got, note=None):
        x, dy = npy(x), npy(dy)
        use_batch = bool(training) or self.erm is None
        exact = None
        if x.size:
            w = None
            if training and self.erm is not None:
                if self.weight is None:
                    self.count += 1
                    w = mpf(1) / self.count
                else:
                    w = mpf(float(self.weight))
                    self.count = None if self.count is None else self.count + 1
            exact, self.erm, self.erv = exact_step(x, dy, self.gamma, self.beta, self.erm, self.erv, self.eps, use_batch, w)
            exact["batches"] = self.count
            if got is not None:
                inv, sums = self._scales(x, dy, exact, use_batch)
                exact["_inv"], exact["_sum_abs_dy_xhat"] = inv, sums
                for k, v in torch_errors(got, exact, x, dy, self.gamma, self.beta, use_batch).items():
                    self.error[k] = max(self.error.get(k, 0.0), v)
                assert got["batches"] == exact["batches"], self.name
        step = {"training": bool(training), "uses_batch_statistics": use_batch,
                "x": tensor_json(x), "dy": tensor_json(dy),
                "expect": values_json(got), "exact": values_json(exact) if self.record_exact else None}
        if note:
            step["note"] = note
        self.steps.append(step)

    def _scales(self, x, dy, exact, use_batch):
        if use_batch:
            m, inv = exact["batch_mean"], exact["batch_inv_std"]
            var = exact["batch_var"]
        else:
            m, var = exact["running_mean"], exact["running_var"]
            inv = 1 / np.sqrt(var + self.eps)
        xh = (channels_of(x) - m[:, None]) * inv[:, None]
        s = np.abs(channels_of(dy) * xh).sum(1)
        return inv, np.where(s == 0, 1.0, s)

    def json(self):
        case = {
            "name": self.name, "source": self.source, "origin": self.origin,
            "config": {"channels": self.channels, "epsilon": float(self.eps),
                       "weight_of_new_value": None if self.weight is None else float(self.weight),
                       "gamma": self.gamma is not None, "beta": self.beta is not None,
                       "track_running_stats": self.rm0 is not None,
                       "running_var_estimator": "sample", "memory_format": self.memory_format},
            "initial": {"gamma": tensor_json(self.gamma), "beta": tensor_json(self.beta),
                        "running_mean": tensor_json(self.rm0), "running_var": tensor_json(self.rv0),
                        "batches": self.batches0},
            "torch_error": {k: float("%.3g" % v) for k, v in self.error.items()},
            "steps": self.steps,
        }
        if self.note:
            case["note"] = self.note
        return case


# ---------------------------------------------------------------- running torch

def formatted(t, memory_format):
    if memory_format == "channels_last":
        return t.to(memory_format=torch.channels_last if t.dim() == 4 else torch.channels_last_3d)
    assert memory_format == "contiguous"
    return t.contiguous()


def run_functional(call, case, training, x, dy, rm, rv):
    """One forward and backward. `call(x, rm, rv, gamma, beta, training)` gives (y, batch_mean, batch_inv_std);
    rm and rv are updated in place, as torch does."""
    xs = formatted(torch.as_tensor(npy(x)), case.memory_format).requires_grad_(True)
    g = None if case.gamma is None else torch.tensor(case.gamma).requires_grad_(True)
    b = None if case.beta is None else torch.tensor(case.beta).requires_grad_(True)
    y, mean, inv = call(xs, rm, rv, g, b, training)
    y.backward(formatted(torch.as_tensor(npy(dy)), case.memory_format))
    return {"y": npy(y), "dx": npy(xs.grad), "dgamma": None if g is None else npy(g.grad),
            "dbeta": None if b is None else npy(b.grad), "running_mean": npy(rm), "running_var": npy(rv),
            "batches": None, "batch_mean": npy(mean), "batch_var": None, "batch_inv_std": npy(inv)}


def functional(eps, weight):
    def call(x, rm, rv, g, b, training):
        return F.batch_norm(x, rm, rv, g, b, training, weight, eps), None, None
    return call


def native(eps, weight):
    def call(x, rm, rv, g, b, training):
        y, mean, inv = torch.native_batch_norm(x, g, b, rm, rv, training, weight, eps)
        return y, (mean if training else None), (inv if training else None)
    return call


# ---------------------------------------------------------------- (a) operator samples

def operator_cases():
    from torch.testing._internal import common_methods_invocations as cmi
    ops = {(o.name, o.variant_test_name): o for o in cmi.op_db if "batch_norm" in o.name}
    cases = []
    for op, short, seed in (("nn.functional.batch_norm", "operator", 1), ("native_batch_norm", "native", 2)):
        info = ops[(op, "")]
        torch.manual_seed(seed)
        gen = np.random.Generator(np.random.PCG64(100 + seed))
        samples = list(info.sample_inputs("cpu", F64, requires_grad=False))
        for i, s in enumerate(samples):
            if short == "operator":
                rm, rv, g, b = s.args
                training = s.kwargs.get("training", False)
                weight = s.kwargs.get("momentum", 0.1)
                eps = s.kwargs.get("eps", 1e-5)
                call = functional(eps, weight)
            else:
                g, b, rm, rv, training, weight, eps = s.args
                call = native(eps, weight)
            x, rm0, rv0, g, b = (rounded(t) for t in (s.input, rm, rv, g, b))
            dy = torch.as_tensor(np.round(gen.standard_normal(tuple(x.shape)), 4))
            channels = x.shape[1] if x.dim() > 1 else 0
            shape = "x".join(map(str, x.shape))
            note = None
            if not 0 <= weight <= 1:
                note = "the weight of the new value lies outside 0..1: torch accepts it"
            if x.dim() < 2:
                note = "rank 1 and no channel: torch returns an empty output"
            case = Case(f"{short}_{i:02d}_{shape}_{'train' if training else 'eval'}", f"torch-{short}",
                        f"common_methods_invocations.py {info.sample_inputs_func.__name__}[{i}] {dict(s.kwargs) if s.kwargs else ''}".strip(),
                        channels, eps, weight, g, b, rm0, rv0, None, note=note)
            rmc = None if rm0 is None else rm0.clone()
            rvc = None if rv0 is None else rv0.clone()
            got = run_functional(call, case, training, x, dy, rmc, rvc)
            case.add(training, x, dy, got)
            cases.append(case)
    return cases


# ---------------------------------------------------------------- (b) module samples

LATER_SHAPES = {  # shapes of steps 2, 3, 4 and of the evaluation, without the channel axis: (N, spatial...)
    2: [(7,), (2,), (5,), (3,)],
    3: [(2, 4), (5, 2), (1, 7), (3, 3)],
    4: [(3, 2, 3), (1, 3, 5), (4, 1, 4), (2, 3, 2)],
    5: [(3, 2, 3, 1), (1, 3, 2, 2), (4, 1, 2, 2), (2, 2, 1, 3)],
}


def module_step(m, case, x, dy, note=None):
    training = m.training
    for p in m.parameters():
        p.grad = None
    xs = torch.as_tensor(npy(x)).requires_grad_(True)
    y = m(xs)
    y.backward(torch.as_tensor(npy(dy)))
    got = {"y": npy(y), "dx": npy(xs.grad),
           "dgamma": npy(m.weight.grad) if m.weight is not None else None,
           "dbeta": npy(m.bias.grad) if m.bias is not None else None,
           "running_mean": npy(m.running_mean), "running_var": npy(m.running_var),
           "batches": None if m.num_batches_tracked is None else int(m.num_batches_tracked),
           "batch_mean": None, "batch_var": None, "batch_inv_std": None}
    case.add(training, x, dy, got, note)


def module_cases():
    from torch.testing._internal import common_modules as cm
    cases = []
    gen = np.random.Generator(np.random.PCG64(200))
    torch.manual_seed(3)
    for dims in (1, 2, 3):
        func = getattr(cm, f"module_inputs_torch_nn_BatchNorm{dims}d")
        cls = getattr(torch.nn, f"BatchNorm{dims}d")
        samples = [(s.constructor_input.args, dict(s.constructor_input.kwargs), rounded(s.forward_input.args[0]), s.desc or "default")
                   for s in func(None, "cpu", F64, requires_grad=False, training=True)]
        for i, (args, kwargs, first, desc) in enumerate(samples):
            m = cls(*args, **kwargs, dtype=F64)
            c = m.num_features
            with torch.no_grad():  # ones and zeros would test little
                if m.weight is not None:
                    m.weight.copy_(torch.as_tensor(np.round(gen.uniform(-1.5, 1.5, c), 4)))
                if m.bias is not None:
                    m.bias.copy_(torch.as_tensor(np.round(gen.standard_normal(c), 4)))
            arguments = ", ".join([str(a) for a in args] + [f"{k}={v}" for k, v in kwargs.items()])
            case = Case(f"module{dims}d_{i}_{desc}", "torch-module",
                        f"common_modules.py module_inputs_torch_nn_BatchNorm{dims}d[{i}] BatchNorm{dims}d({arguments})",
                        c, m.eps, m.momentum, m.weight, m.bias, m.running_mean, m.running_var,
                        None if m.num_batches_tracked is None else int(m.num_batches_tracked))

            def draw(shape):
                scale, shift = gen.uniform(0.5, 3, (1, c)), gen.uniform(-5, 5, (1, c))
                tail = (1,) * (len(shape) - 2)
                x = gen.standard_normal(shape) * scale.reshape((1, c) + tail) + shift.reshape((1, c) + tail)
                return torch.as_tensor(np.round(x, 4)), torch.as_tensor(np.round(gen.standard_normal(shape), 4))

            later = [(s[0], c) + tuple(s[1:]) for s in LATER_SHAPES[first.dim()]]
            m.train()
            empty = first.numel() == 0
            if not empty:
                module_step(m, case, first, draw(tuple(first.shape))[1])
            for shape in later[:3]:
                module_step(m, case, *draw(shape))
            m.eval()
            module_step(m, case, *draw(later[3]))
            if empty:  # the sample itself, last: what torch does to the statistics is its own
                zero = torch.zeros_like(first)
                module_step(m, case, zero, zero, "empty batch in evaluation")
                m.train()
                module_step(m, case, zero, zero,
                            "empty batch in training: torch leaves the running statistics and moves the counter; a library that ignores empty batches leaves both")
            cases.append(case)

    # our own: training and evaluation in turn; cumulative; single samples
    for name, args, kwargs, plan in (
        ("interleaved_cumulative", (3,), {"momentum": None}, "teteett"),
        ("interleaved_weight_1", (3,), {"momentum": 1.0}, "tet"),
        ("interleaved_weight_0", (3,), {"momentum": 0.0}, "tet"),
        ("interleaved_no_tracking_no_affine", (3,), {"affine": False, "track_running_stats": False}, "tet"),
        ("interleaved_cumulative_no_affine_eps_0.5", (3,), {"affine": False, "momentum": None, "eps": 0.5}, "ttte"),
    ):
        m = torch.nn.BatchNorm2d(*args, **kwargs, dtype=F64)
        with torch.no_grad():
            if m.weight is not None:
                m.weight.copy_(torch.as_tensor(np.round(gen.uniform(-1.5, 1.5, 3), 4)))
                m.bias.copy_(torch.as_tensor(np.round(gen.standard_normal(3), 4)))
        arguments = ", ".join([str(a) for a in args] + [f"{k}={v}" for k, v in kwargs.items()])
        case = Case("module2d_own_" + name, "torch-module", f"own: BatchNorm2d({arguments})", 3, m.eps, m.momentum,
                    m.weight, m.bias, m.running_mean, m.running_var,
                    None if m.num_batches_tracked is None else int(m.num_batches_tracked))
        for letter in plan:
            m.train(letter == "t")
            shape = (int(gen.integers(1, 4)), 3, int(gen.integers(1, 4)), int(gen.integers(2, 4)))
            x = np.round(gen.standard_normal(shape) * 2 + gen.uniform(-3, 3, (1, 3, 1, 1)), 4)
            module_step(m, case, torch.as_tensor(x), torch.as_tensor(np.round(gen.standard_normal(shape), 4)))
        cases.append(case)
    return cases


# ---------------------------------------------------------------- (c) our own, with exact values

def own_cases():
    gen = np.random.Generator(np.random.PCG64(300))
    cases = []

    def per(values, dim):
        return np.asarray(values, dtype=np.float64).reshape((1, -1) + (1,) * (dim - 2))

    def make(name, shape=None, mean=0.0, std=1.0, x=None, dy=None, gamma="random", beta="random", rm="random", rv="random",
             eps=1e-5, weight=0.1, formats=("contiguous",), modes=("train",), call=functional, decimals=4, note=None):
        if x is None:
            c, dim = shape[1], len(shape)
            mean_c = per(np.broadcast_to(np.asarray(mean, dtype=np.float64), (c,)), dim)
            std_c = per(np.broadcast_to(np.asarray(std, dtype=np.float64), (c,)), dim)
            x = np.round(gen.standard_normal(shape), decimals) * std_c + mean_c
            x = np.array([float("%.12g" % v) for v in x.reshape(-1)]).reshape(shape)  # short decimals
        x = np.asarray(x, dtype=np.float64)
        shape, c = x.shape, x.shape[1]
        dy = np.round(gen.standard_normal(shape), 4) if dy is None else np.asarray(dy, dtype=np.float64)

        def parameter(p, f):
            if p is None:
                return None
            return np.round(f(), 4) if isinstance(p, str) else np.asarray(np.broadcast_to(np.asarray(p, dtype=np.float64), (c,))).copy()
        gamma = parameter(gamma, lambda: gen.uniform(-2, 2, c))
        beta = parameter(beta, lambda: gen.standard_normal(c))
        rm = parameter(rm, lambda: gen.standard_normal(c))
        rv = parameter(rv, lambda: gen.uniform(0.5, 2, c))
        t = lambda a: None if a is None else torch.tensor(a)
        for mf in formats:
            for mode in modes:
                full = name + ("" if mf == "contiguous" else "_" + mf) + ("" if len(modes) == 1 else "_" + mode)
                case = Case(full, "own", f"own: torch {'native_batch_norm' if call is native else 'nn.functional.batch_norm'}",
                            c, eps, weight, t(gamma), t(beta), t(rm), t(rv), None, memory_format=mf, record_exact=True, note=note)
                training = mode == "train"
                got = run_functional(call(eps, weight), case, training, torch.tensor(x), torch.tensor(dy), t(rm), t(rv))
                case.add(training, torch.tensor(x), torch.tensor(dy), got)
                cases.append(case)

    both = ("contiguous", "channels_last")
    make("nchw_3x5x4x3", (3, 5, 4, 3), formats=both, modes=("train", "eval"))
    make("odd_2x11x3x3", (2, 11, 3, 3), mean=2.0)
    make("odd_3x7x5x1", (3, 7, 5, 1), formats=both)
    make("channels_33_3x33", (3, 33), mean=-1.0, std=2.0)
    make("channels_1_9x1x3x3", (9, 1, 3, 3), gamma=[-0.5], beta=[2.0])
    make("long_150x2", (150, 2), mean=[3.0, -7.0])
    for power in (4, 6):
        m = 10.0 ** power
        make(f"mean_over_std_1e{power}", (4, 3, 3, 4), mean=[m, -m, m], formats=both, rm=[m, -m, 0.0])
        make(f"mean_over_std_1e{power}_rank2", (40, 3), mean=[m, -m, m])
        make(f"eval_mean_1e{power}", (3, 3, 3, 3), mean=[m, -m, m], rm=[m + 0.25, -m, m - 0.5], formats=both, modes=("eval",))
    make("mean_1e6_std_1e-3", (4, 2, 3, 3), mean=[1e6, -1e6], std=1e-3, decimals=3)
    make("beta_1e6", (4, 3, 3, 3), beta=[1e6, -1e6, 12.5], gamma=[1.0, 2.0, 1e-3])
    make("single_sample_1x4x5x6", (1, 4, 5, 6), modes=("train", "eval"))
    make("single_sample_1x3x2", (1, 3, 2))
    make("rank2_N2", (2, 6), note="two values a channel: dx cancels to about eps/(var + eps) of its terms")
    make("rank2_N3", (3, 4), mean=10.0)
    make("gamma_zero_and_negative", (4, 4, 2, 3), gamma=[0.0, -1.0, -0.0, -2.5], modes=("train", "eval"))
    make("scale_only", (4, 3, 5), beta=None)
    make("shift_only", (4, 3, 5), gamma=None, modes=("train", "eval"))
    make("no_parameters", (4, 3, 5), gamma=None, beta=None)
    make("no_running_statistics", (4, 3, 2, 2), rm=None, rv=None)
    make("rank5_2x3x2x3x4", (2, 3, 2, 3, 4), formats=both)
    make("rank6_2x3x2x2x1x3", (2, 3, 2, 2, 1, 3))
    make("eps_1e3", (4, 3, 3, 3), eps=1e3, modes=("train", "eval"))
    make("eps_1e-300", (4, 3, 6), eps=1e-300)
    make("eps_0_native", (4, 3, 6), eps=0.0, call=native,
         note="torch.nn.functional.batch_norm and the modules refuse eps 0 in training; the native operator takes it")
    make("variance_far_below_eps", (5, 2, 4), mean=[1.0, 50.0], std=1e-6)
    make("constant_channels", x=np.broadcast_to(per([0.0, 100.1, 1e7, -1e100, 0.3], 4), (3, 5, 2, 3)), formats=both,
         note="every value of a channel alike: exact has variance 0, y == beta, dx == gamma inv_std (dy - mean dy)")
    outlier = np.round(gen.standard_normal((10, 3, 4)), 4)
    outlier[0, 0, 0], outlier[9, 1, 3], outlier[4, 2, 2] = 1e8, -1e8, 1e10
    make("outlier_first_last_middle", x=outlier)
    make("large_1e120", (3, 2, 6), std=1e120, mean=[1e120, -3e120], rm=0.0, rv=1.0)
    make("small_1e-120", (3, 2, 6), std=1e-120, mean=[1e-120, -3e-120], eps=1e-245, rm=0.0, rv=1.0)
    x = np.round(gen.standard_normal((4, 3, 2, 3)), 4)
    make("dy_ones", x=x, dy=np.ones_like(x), note="an upstream gradient of ones: exact dx = 0, dgamma = 0, dbeta = count, to rounding of the inputs")
    make("weight_1", (3, 2, 4), weight=1.0)
    make("weight_0", (3, 2, 4), weight=0.0)
    ramp = np.arange(48, dtype=np.float64).reshape(4, 3, 4)
    make("ramp", x=ramp, gamma=[1.0, 2.0, 3.0], beta=[11.0, 12.0, 13.0])
    return cases


def main():
    cases = operator_cases() + module_cases() + own_cases()
    names = [c.name for c in cases]
    assert len(set(names)) == len(names), "names must differ"
    cpu = torch.backends.cpu.get_cpu_capability()
    head = {
        "made_by": "crates/batchnorm/tests/golden/make_torch.py",
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "mpmath": mpmath.__version__,
                     "python": sys.version.split()[0], "cpu_capability": cpu, "threads": "1"},
    }
    text = json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n'
    text += ",\n".join(json.dumps(c.json(), separators=(",", ":"), allow_nan=False) for c in cases)
    text += "\n]}\n"
    json.loads(text)
    with open(os.path.join(HERE, "torch.json"), "w", encoding="utf-8") as f:
        f.write(text)
    counts = {}
    for c in cases:
        counts[c.source] = counts.get(c.source, 0) + 1
    print(counts, len(text), "bytes")
    for c in cases:
        print("%-48s %s" % (c.name, {k: "%.1e" % v for k, v in c.error.items()}))


if __name__ == "__main__":
    main()
