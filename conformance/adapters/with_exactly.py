"""Batch norm in decimal arithmetic of 60 digits, from the formulas alone: the cases' expected values by another road than
the one that made them. Slow, and without numpy's sums."""

import sys
from decimal import Context, Decimal, setcontext

import numpy as np

VERSION = "python " + sys.version.split()[0]
DIGITS = 60

setcontext(Context(prec=DIGITS, Emin=-99999, Emax=99999))


def solve(case):
    if case.operation not in ("train", "eval") or any(entry is not None and entry.size > 1e5 for entry in [case.x]):
        raise NotImplementedError("one batch of moderate size alone")
    if case.direction is not None or not np.isfinite(case.x[counts(case)]).all():
        raise NotImplementedError("finite numbers alone, and no directional derivative")
    sensible(case)
    x = np.moveaxis(case.x, case.channel_axis, 0)
    outputs = {"y": np.zeros(x.shape)}
    if case.dy is not None:
        outputs |= {"dx": np.zeros(x.shape), "dgamma": np.zeros(len(x)), "dbeta": np.zeros(len(x))}
    if case.operation == "train":
        outputs |= {"mean": np.zeros(len(x)), "variance": np.zeros(len(x))}
    for channel in range(len(x)):
        one_channel(case, channel, outputs)
    for name in ("y", "dx"):
        if name in outputs:
            outputs[name] = np.moveaxis(outputs[name], 0, case.channel_axis)
    return outputs


def sensible(case):
    channels = case.x.shape[case.channel_axis]
    vectors = [own for own in (case.gamma, case.beta, case.running_mean, case.running_variance) if own is not None]
    if case.epsilon < 0 or case.update and not 0 <= case.update["weight_of_new"] <= 1:
        raise ValueError("eps below 0, or a weight outside 0..1")
    if any(own.shape != (channels,) or not np.isfinite(own).all() for own in vectors):
        raise ValueError("parameters or statistics of another length, or not finite")
    if case.running_variance is not None and (case.running_variance < 0).any():
        raise ValueError("a running variance below 0")
    if case.dy is not None and case.dy.shape != case.x.shape:
        raise ValueError("dy of another shape")


def counts(case):
    return np.ones(case.x.shape, bool) if case.weights is None else np.broadcast_to(case.weights, case.x.shape) > 0


def decimals(array, case, channel, where):
    return [Decimal(float(value)) for value in np.moveaxis(array, case.channel_axis, 0)[channel][where]]


def one_channel(case, channel, outputs):
    where = np.moveaxis(counts(case), case.channel_axis, 0)[channel]
    gamma, beta = (Decimal(absent if p is None else float(p[channel])) for p, absent in ((case.gamma, 1), (case.beta, 0)))
    epsilon = Decimal(case.epsilon)
    x = decimals(case.x, case, channel, where)
    weights = [Decimal(1)] * len(x)
    if case.weights is not None:
        weights = decimals(np.broadcast_to(case.weights, case.x.shape), case, channel, where)
    if case.operation == "eval":
        mean, variance = (Decimal(float(p[channel])) for p in (case.running_mean, case.running_variance))
    elif x:
        total = sum(weights)
        mean = sum(w * v for w, v in zip(weights, x)) / total
        variance = sum(w * (v - mean) ** 2 for w, v in zip(weights, x)) / total
        outputs["mean"][channel], outputs["variance"][channel] = mean, variance
    else:
        return
    constant = case.operation == "train" and len(set(x)) == 1
    if constant:
        mean, variance = x[0], Decimal(0)
        outputs["mean"][channel], outputs["variance"][channel] = mean, variance
    inverse = Decimal(0) if variance + epsilon == 0 else 1 / (variance + epsilon).sqrt()
    xhat = [(v - mean) * inverse for v in x]
    z = [gamma * h + beta for h in xhat]
    is_open = [case.activation is None or value > 0 for value in z]
    outputs["y"][channel][where] = [float(value) if o else 0.0 for value, o in zip(z, is_open)]
    if case.dy is None:
        return
    dy = [d if o else Decimal(0) for d, o in zip(decimals(case.dy, case, channel, where), is_open)]
    dgamma, dbeta = sum(d * h for d, h in zip(dy, xhat)), sum(dy)
    outputs["dgamma"][channel], outputs["dbeta"][channel] = dgamma, dbeta
    if case.operation == "eval":
        dx = [gamma * inverse * d for d in dy]
    else:
        dx = [gamma * inverse * (d - w / total * dbeta - h * w / total * dgamma) for d, h, w in zip(dy, xhat, weights)]
    outputs["dx"][channel][where] = [0.0 if constant else float(d) for d in dx]
