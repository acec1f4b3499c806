"""Functions for run.py, right and wrong in the usual ways (tests/python.rs)."""

import numpy as np


def of_case(case, wrong=""):
    """The forward pass of batch norm in training, channels second, f32 and f64."""
    if case.norm != "batch" or case.operation != "train" or case.channel_axis != 1 or case.type not in ("f32", "f64"):
        raise NotImplementedError("training, channels second")
    if case.weights is not None or case.x.size > 1e6 or case.x.size == 0:
        raise NotImplementedError("plain batches of moderate size")
    if case.epsilon < 0:
        raise ValueError("eps below 0")
    x, axes = case.x.astype(np.float64), tuple(axis for axis in range(case.x.ndim) if axis != 1)
    shape = [1, -1] + [1] * (x.ndim - 2)
    gamma, beta = (np.full(x.shape[1], absent) if p is None else p.astype(np.float64)
                   for p, absent in ((case.gamma, 1.0), (case.beta, 0.0)))
    if len(gamma) != x.shape[1] or not np.isfinite(gamma).all():
        raise ValueError("gamma")
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    same = (x == x[:1].reshape(1, x.shape[1], -1)[:, :, :1].reshape(shape)).all(axes, keepdims=True)
    mean, variance = np.where(same, x.max(axes, keepdims=True), mean), np.where(same, 0, variance)
    if wrong == "sample":
        variance = x.var(axes, keepdims=True, ddof=1)
    if wrong == "squares":
        x32 = case.x.astype(np.float32)
        variance = (x32**2).mean(axes, keepdims=True) - x32.mean(axes, keepdims=True) ** 2
    deviation = np.sqrt(variance) + case.epsilon if wrong == "eps" else np.sqrt(variance + case.epsilon)
    xhat = np.divide(x - mean, deviation, out=np.zeros_like(x), where=deviation != 0)
    y = xhat * gamma.reshape(shape) + beta.reshape(shape)
    if wrong == "nan" and np.isnan(x).any():
        y[:] = np.nan
    return {"y": y.astype(case.x.dtype), "variance": variance.ravel()}


def right(case):
    if case.level != "easy":
        raise NotImplementedError("f64 sums are enough for what is easy")
    return of_case(case)


def eps_outside(case):
    return of_case(case, "eps")


def sample_variance(case):
    return of_case(case, "sample")


def mean_of_squares(case):
    return of_case(case, "squares")


def nan_spreads(case):
    return of_case(case, "nan")


def another_shape(case):
    return {"y": of_case(case)["y"][:1]}


def stored_in_float32(case):
    variance = of_case(case)["variance"]
    return {"variance": variance.astype(np.float32)}


def overflows(case):
    return {"variance": np.full(case.x.shape[1], np.inf, np.float32)}


def forgets_the_rectifier(case):
    return of_case(case) if case.activation == "relu" else right(case)


def overwrites(case):
    y = of_case(case)["y"]
    case.x[...] = 0
    return {"y": y}


def refuses(case):
    raise ValueError("no")


def nothing(case):
    return {}


def misspells(case):
    return {"varianse" if name == "variance" else name: value for name, value in right(case).items()}


def leaves_out(case):
    return {"y": right(case)["y"]}
