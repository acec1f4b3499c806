"""Batch norm in 80 digits, and how far torch is from it: for make_torch.py."""
import mpmath
import numpy as np

mpmath.mp.dps = 80
mpf = mpmath.mpf

EXPECT_KEYS = ["y", "dx", "dgamma", "dbeta", "running_mean", "running_var", "batches",
               "batch_mean", "batch_var", "batch_inv_std"]


# ---------------------------------------------------------------- exact values

def channels_of(a):
    """(C, values of a channel in logical order) of an array whose axis 1 is the channel."""
    return np.moveaxis(a, 1, 0).reshape(a.shape[1], -1)


def uncover(rows, shape):
    """The inverse of channels_of."""
    moved = (shape[1], shape[0]) + tuple(shape[2:])
    return np.moveaxis(np.array(rows, dtype=np.float64).reshape(moved), 0, 1)


def exact_step(x, dy, gamma, beta, rm, rv, eps, use_batch, weight):
    """One step in 80 digits. rm and rv are lists of mpf or None; returns (values, new rm, new rv).

    gamma and beta are arrays of doubles or None. `weight` is None where the running statistics stay."""
    c = x.shape[1]
    out = {k: [] for k in EXPECT_KEYS}
    new_rm, new_rv = [], []
    e = mpf(float(eps))
    for ch, (xs, ds) in enumerate(zip(channels_of(x), channels_of(dy))):
        xs = [mpf(float(v)) for v in xs]
        ds = [mpf(float(v)) for v in ds]
        n = len(xs)
        g = mpf(1) if gamma is None else mpf(float(gamma[ch]))
        b = mpf(0) if beta is None else mpf(float(beta[ch]))
        mean = mpmath.fsum(xs) / n
        var = mpmath.fsum([(v - mean) ** 2 for v in xs]) / n
        m, v = (mean, var) if use_batch else (rm[ch], rv[ch])
        # eps 0 with variance 0: declared y = beta, dx = 0
        inv = 1 / mpmath.sqrt(v + e) if v + e != 0 else mpf(0)
        xhat = [(t - m) * inv for t in xs]
        dg = mpmath.fsum([d * h for d, h in zip(ds, xhat)])
        db = mpmath.fsum(ds)
        if use_batch:
            dx = [g * inv * (d - db / n - h * dg / n) for d, h in zip(ds, xhat)]
        else:
            dx = [g * inv * d for d in ds]
        out["y"].append([float(g * h + b) for h in xhat])
        out["dx"].append([float(t) for t in dx])
        out["dgamma"].append(float(dg))
        out["dbeta"].append(float(db))
        out["batch_mean"].append(float(mean))
        out["batch_var"].append(float(var))
        out["batch_inv_std"].append(float(inv))
        if rm is not None:
            if weight is not None:
                w = mpf(weight) if not isinstance(weight, mpf) else weight
                new_rm.append((1 - w) * rm[ch] + w * mean)
                new_rv.append((1 - w) * rv[ch] + w * var * n / (n - 1))
            else:
                new_rm.append(rm[ch])
                new_rv.append(rv[ch])
    res = {
        "y": uncover(out["y"], x.shape), "dx": uncover(out["dx"], x.shape),
        "dgamma": np.array(out["dgamma"]) if gamma is not None else None,
        "dbeta": np.array(out["dbeta"]) if beta is not None else None,
        "running_mean": None, "running_var": None, "batches": None,
        "batch_mean": np.array(out["batch_mean"]) if use_batch else None,
        "batch_var": np.array(out["batch_var"]) if use_batch else None,
        "batch_inv_std": np.array(out["batch_inv_std"]) if use_batch else None,
    }
    assert c == len(out["dgamma"])
    if rm is not None:
        res["running_mean"] = np.array([float(v) for v in new_rm])
        res["running_var"] = np.array([float(v) for v in new_rv])
        return res, new_rm, new_rv
    return res, None, None


# ---------------------------------------------------------------- error of torch, by the measures of numerics.md

def worst(a):
    a = np.asarray(a, dtype=np.float64)
    return float(a.max()) if a.size else 0.0


def torch_errors(got, exact, x, dy, gamma, beta, use_batch):
    """{field: error}, worst channel. y: over max(|y|, |beta|) of the channel. dx: over |gamma| inv_std max|dy|.
    dgamma: over sum|dy xhat|. dbeta: over sum|dy|. running_mean: over |running_mean| + sqrt(running_var). others: relative."""
    c = x.shape[1]
    g = np.ones(c) if gamma is None else np.asarray(gamma)
    b = np.zeros(c) if beta is None else np.asarray(beta)
    y = channels_of(exact["y"])
    with np.errstate(all="ignore"):
        def ratio(num, den):
            return worst(np.where(num == 0, 0.0, num / np.where(den == 0, 5e-324, den)))
        err = {"y": ratio(np.abs(channels_of(got["y"]) - y).max(1), np.maximum(np.abs(y).max(1), np.abs(b)))}
        inv = exact["_inv"]
        d = np.abs(channels_of(dy))
        err["dx"] = ratio(np.abs(channels_of(got["dx"]) - channels_of(exact["dx"])).max(1), np.abs(g) * inv * d.max(1))
        if gamma is not None:
            err["dgamma"] = ratio(np.abs(got["dgamma"] - exact["dgamma"]), exact["_sum_abs_dy_xhat"])
        if beta is not None:
            err["dbeta"] = ratio(np.abs(got["dbeta"] - exact["dbeta"]), d.sum(1))
        if got["running_mean"] is not None and exact["running_mean"] is not None:
            sd = np.sqrt(np.abs(exact["running_var"]))
            err["running_mean"] = ratio(np.abs(got["running_mean"] - exact["running_mean"]), np.abs(exact["running_mean"]) + sd)
            err["running_var"] = ratio(np.abs(got["running_var"] - exact["running_var"]), np.abs(exact["running_var"]))
        for k in ("batch_mean", "batch_inv_std"):
            if got[k] is not None and exact[k] is not None:
                scale = np.abs(exact[k]) if k != "batch_mean" else np.abs(exact[k]) + 1 / np.maximum(inv, 5e-324)
                err[k] = ratio(np.abs(got[k] - exact[k]), scale)
    return err
