#!/usr/bin/env python3
"""Writes renormalization.json: 100 steps of batch renormalisation by the paper's formulas (Ioffe 2017, algorithm 1) in NumPy.

    python make_renormalization.py            # in this folder; a second

Written from the paper alone. Inputs come from a linear congruential generator, which the test runs too. The moving averages are those of the mean
and of the standard deviation sqrt(eps + variance), as in the paper; gamma and beta follow their gradients, so that errors would add up.
"""
import json
import os

import numpy as np

SAMPLES, CHANNELS, PLANE, STEPS = 4, 3, 5, 100
EPSILON, ALPHA, RATE = 1e-3, 0.05, 0.01
BEGIN, R_END, D_END, R_MAX, D_MAX = 10, 60, 40, 3.0, 5.0
state = 12345


def uniform():
    global state
    state = (1103515245 * state + 12345) % 2**31
    return state / 2**31


def array(offset, scale):
    values = [uniform() for _ in range(SAMPLES * CHANNELS * PLANE)]
    a = np.array(values).reshape(SAMPLES, CHANNELS, PLANE) - 0.5
    return a * np.asarray(scale).reshape(1, CHANNELS, 1) + np.asarray(offset).reshape(1, CHANNELS, 1)


def ramp(step, closed, opened, end):
    return closed + (opened - closed) * min(max((step - BEGIN) / (end - BEGIN), 0.0), 1.0)


def channels(values):
    return np.asarray(values).reshape(1, CHANNELS, 1)


mu, sigma = np.zeros(CHANNELS), np.ones(CHANNELS)
gamma, beta = np.array([1.0, -0.5, 2.0]), np.array([0.0, 0.25, -1.0])
steps = []
for step in range(STEPS):
    # Batches whose mean and spread wander.
    x = array([np.sin(step / 3.0), 2.0 + np.cos(step), -1.0], [2.0, 0.3, 5.0 + 4.0 * np.sin(step / 7.0)])
    dy = array([0.1, 0.0, -0.2], [1.0, 1.0, 2.0])
    m = SAMPLES * PLANE
    mean = x.mean(axis=(0, 2))
    deviation = np.sqrt(EPSILON + ((x - channels(mean)) ** 2).mean(axis=(0, 2)))
    r_max, d_max = ramp(step, 1.0, R_MAX, R_END), ramp(step, 0.0, D_MAX, D_END)
    r = np.clip(deviation / sigma, 1.0 / r_max, r_max)
    d = np.clip((mean - mu) / sigma, -d_max, d_max)
    xhat = (x - channels(mean)) / channels(deviation) * channels(r) + channels(d)
    y = channels(gamma) * xhat + channels(beta)

    # The gradients as the paper lists them, with r and d as constants.
    dxhat = dy * channels(gamma)
    ddeviation = (dxhat * (x - channels(mean)) * channels(-r / deviation**2)).sum(axis=(0, 2))
    dmean = (dxhat * channels(-r / deviation)).sum(axis=(0, 2))
    dx = dxhat * channels(r / deviation) + channels(ddeviation) * (x - channels(mean)) / (m * channels(deviation)) + channels(dmean / m)
    dgamma, dbeta = (dy * xhat).sum(axis=(0, 2)), dy.sum(axis=(0, 2))

    mu = mu + ALPHA * (mean - mu)
    sigma = sigma + ALPHA * (deviation - sigma)
    test = channels(gamma) * (x - channels(mu)) / channels(sigma) + channels(beta)
    gamma, beta = gamma - RATE * dgamma, beta - RATE * dbeta
    steps.append({
        "y": y.reshape(-1).tolist() if step % 9 == 0 else [], "dx": dx.reshape(-1).tolist() if step % 9 == 0 else [],
        "test": test.reshape(-1).tolist() if step % 9 == 0 else [],
        "dgamma": dgamma.tolist(), "dbeta": dbeta.tolist(), "mean": mu.tolist(), "deviation": sigma.tolist(),
    })

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "renormalization.json"), "w") as out:
    json.dump({"made_by": "make_renormalization.py", "numpy": np.__version__, "steps": steps}, out)
    out.write("\n")
