"""The formulas in float64, as one writes them down: two passes, no further care. Also the example of what a function for
run.py looks like."""

import numpy as np

VERSION = np.__version__


def rounded(values, case):
    """To the type of the case (bfloat16, which numpy has not, by way of its bits)."""
    values = np.asarray(values, np.float64)
    if case.type != "bf16":
        return values.astype({"f64": np.float64, "f32": np.float32, "f16": np.float16}[case.type])
    bits = values.astype(np.float32).view(np.uint32)
    up = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(values), up.view(np.float32), values.astype(np.float32)).astype(np.float32)


def solve(case):
    if case.weights is not None or case.direction is not None:
        raise NotImplementedError("no weights, no directional derivative")
    if case.operation == "forward":
        return by_rows(case)
    if case.operation == "eval":
        return evaluated(case)
    if case.operation == "train":
        return trained(case)
    running = {name: case.inputs.get(name) for name in ("running_mean", "running_variance")}
    if case.operation == "updates":
        # What the updates so far weigh together; of an average that holds its start always 1.
        share = 0.0 if case.average == "debiased" else 1.0
        for x in case.batches:
            running, share = updated(x, case, running, share)
        return running
    raise NotImplementedError(case.operation)


def of_channels(values, case):
    shape = [1] * len(case.roles)
    shape[case.channel_axis] = -1
    return None if values is None else np.reshape(values, shape).astype(np.float64)


def others(case):
    return tuple(axis for axis in range(len(case.roles)) if axis != case.channel_axis)


def updated(x, case, running, share=1.0):
    axes, weight = others(case), case.update["weight_of_new"]
    n = x.size // x.shape[case.channel_axis]
    if n == 0:
        return running, share
    x = x.astype(np.float64)
    variance = x.var(axis=axes) * (n / (n - 1) if case.update["variance"] == "sample" else 1)
    new_share = (1 - weight) * share + weight
    follow = lambda old, new: ((1 - weight) * share * old + weight * new) / new_share
    return {"running_mean": follow(running["running_mean"], x.mean(axis=axes)),
            "running_variance": follow(running["running_variance"], variance)}, new_share


def behind(z, case):
    """y, and the upstream gradient before what follows the normalisation."""
    dy = None if case.dy is None else case.dy.astype(np.float64)
    if case.activation == "relu":
        return np.maximum(z, 0), None if dy is None else np.where(z > 0, dy, 0)
    return z, dy


def trained(case):
    axes, x = others(case), case.x.astype(np.float64)
    gamma, beta = of_channels(case.gamma, case), of_channels(case.beta, case)
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + case.epsilon)
    xhat = (x - mean) * inverse
    r, d = 1.0, 0.0
    if case.renormalization is not None:
        r_max, d_max = case.renormalization["r_max"], case.renormalization["d_max"]
        deviation = np.sqrt(of_channels(case.running_variance, case) + case.epsilon)
        r = np.clip(np.sqrt(variance + case.epsilon) / deviation, 1 / r_max, r_max)
        d = np.clip((mean - of_channels(case.running_mean, case)) / deviation, -d_max, d_max)
    corrected = r * xhat + d
    y = corrected * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    y, dy = behind(y, case)
    outputs = {"y": rounded(y, case), "mean": mean.ravel(), "variance": variance.ravel()}
    if case.update is not None:
        running = {"running_mean": case.running_mean, "running_variance": case.running_variance}
        outputs |= updated(case.x, case, running)[0]
    if dy is not None:
        g = dy * (1 if gamma is None else gamma)
        dx = r * inverse * (g - g.mean(axis=axes, keepdims=True) - xhat * (g * xhat).mean(axis=axes, keepdims=True))
        outputs |= {"dx": rounded(dx, case), "dgamma": (dy * corrected).sum(axis=axes), "dbeta": dy.sum(axis=axes)}
    return outputs


def evaluated(case):
    axes, x = others(case), case.x.astype(np.float64)
    gamma, beta = of_channels(case.gamma, case), of_channels(case.beta, case)
    inverse = 1 / np.sqrt(of_channels(case.running_variance, case) + case.epsilon)
    xhat = (x - of_channels(case.running_mean, case)) * inverse
    y = xhat * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    y, dy = behind(y, case)
    outputs = {"y": rounded(y, case)}
    if dy is not None:
        dx = dy * inverse * (1 if gamma is None else gamma)
        outputs |= {"dx": rounded(dx, case), "dgamma": (dy * xhat).sum(axis=axes), "dbeta": dy.sum(axis=axes)}
    return outputs


def by_rows(case):
    """Layer, RMS, group and instance norm: rows of an array (rows, values), gamma and beta of each value."""
    shape = case.x.shape
    if case.norm in ("layer", "rms"):
        own = shape[len(shape) - case.axes:]
        rows, back, parameters = (-1, int(np.prod(own))), lambda a: a.reshape(shape), lambda a: a.reshape(-1, np.prod(own)).sum(0)
        spread = lambda p, absent: np.broadcast_to(absent if p is None else np.reshape(p, (1, -1)), (1, int(np.prod(own))))
        take = lambda a: a.reshape(rows)
    else:
        channels = shape[case.channel_axis]
        groups = channels if case.norm == "instance" else case.groups
        moved = np.moveaxis(case.x, case.channel_axis, 1).shape
        take = lambda a: np.moveaxis(a, case.channel_axis, 1).reshape(moved[0] * groups, -1)
        back = lambda a: np.moveaxis(a.reshape(moved), 1, case.channel_axis)
        parameters = lambda a: np.moveaxis(back(a), case.channel_axis, 0).reshape(channels, -1).sum(1)
        of_x = lambda p, absent: of_channels(np.full(channels, absent) if p is None else p, case)
        spread = lambda p, absent: take(np.broadcast_to(of_x(p, absent), shape))
    x, gamma, beta = take(case.x.astype(np.float64)), spread(case.gamma, 1.0), spread(case.beta, 0.0)
    uncentred = case.norm in ("rms", "group-rms")
    centered = x if uncentred else x - x.mean(1, keepdims=True)
    inverse = 1 / np.sqrt((centered**2).mean(1, keepdims=True) + case.epsilon)
    xhat = centered * inverse
    y, dy = behind(back(xhat * gamma + beta), case)
    outputs = {"y": rounded(y, case)}
    if dy is not None:
        dy = take(dy)
        g = dy * gamma
        dx = g - xhat * (g * xhat).mean(1, keepdims=True)
        dx = inverse * (dx if uncentred else dx - g.mean(1, keepdims=True))
        outputs |= {"dx": rounded(back(dx), case), "dgamma": parameters(dy * xhat), "dbeta": parameters(dy)}
    return outputs
