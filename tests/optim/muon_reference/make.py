#!/usr/bin/env python3
"""Muon written from its formula in NumPy, and the numbers that muon_test.cc compares with.

  python3 tests/optim/muon_reference/make.py > tests/optim/muon_reference/steps.txt

Each matrix by itself, transposed so that the short side comes first, all in double; AdamW for the
vector. Written by NumPy 2.4.6. A line of the output is a name and its numbers in row-major order.
"""
import math

import numpy as np

ORIGINAL = [(3.4445, -4.7750, 2.0315)] * 5
FIVE_STEP = [(4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037),
             (2.8769, -3.1427, 1.2046), (2.8366, -3.0525, 1.2012)]
POLAR_EXPRESS = [(8.2051, -22.9019, 16.4607), (4.0664, -2.8612, 0.5184), (3.9096, -2.8234, 0.5250),
                 (3.2856, -2.4153, 0.4853), (2.2779, -1.6198, 0.3985)]

SCALES = {
    "adamw_rms": lambda out, into: 0.2 * math.sqrt(max(out, into)),
    "aspect": lambda out, into: math.sqrt(max(1, out / into)),
    "unit_rms": lambda out, into: math.sqrt(out / into),
}
CASES = {
    "original": (ORIGINAL, "adamw_rms", 0.95, True),
    "five_step": (FIVE_STEP, "aspect", 0.9, False),
    "polar_express": (POLAR_EXPRESS, "unit_rms", 0.0, True),
}
LR, DECAY, CLIP, STEPS = 0.02, 0.3, 0.5, 3
BETA1, BETA2, EPS = 0.9, 0.95, 1e-8

# The parameters: shape, dim and sizes of the sections, whether it decays.
PARAMETERS = {
    "qkv": ((6, 5), 0, (4, 2), True),
    "experts": ((2, 6, 4), 1, (3, 3), True),
    "down": ((2, 5, 3), 1, (5,), False),
    "out": ((7, 3), 0, (7,), True),
    "norm": ((4,), 0, (4,), False),
}


def newton_schulz(update, polynomials):
    y = update.T if update.shape[0] > update.shape[1] else update
    y = y / (np.linalg.norm(y) + 1e-7)
    for a, b, c in polynomials:
        gram = y @ y.T
        y = a * y + (b * gram + c * gram @ gram) @ y
    return y.T if update.shape[0] > update.shape[1] else y


def muon(weight, gradient, momentum, case, decay):
    """One step of one matrix; returns the new weight and momentum."""
    polynomials, scale, mu, nesterov = case
    momentum = mu * momentum + gradient
    update = gradient + mu * momentum if nesterov else momentum
    step = SCALES[scale](*weight.shape) * newton_schulz(update, polynomials)
    return weight * (1 - LR * decay) - LR * step, momentum


def adamw(weight, gradient, state, t):
    m, v = state
    m = BETA1 * m + (1 - BETA1) * gradient
    v = BETA2 * v + (1 - BETA2) * gradient ** 2
    step = m / (1 - BETA1 ** t) / (np.sqrt(v / (1 - BETA2 ** t)) + EPS)
    return weight - LR * step, (m, v)


def matrices(name, array):
    """Every matrix of a parameter, as views."""
    shape, dim, sizes, _ = PARAMETERS[name]
    parts = np.split(array, np.cumsum(sizes)[:-1], axis=dim)
    return parts if len(shape) == 2 else [expert for part in parts for expert in part]


def emit(name, array):
    print(name, *[repr(float(x)) for x in np.ravel(array)])


def run(label, case, start, gradients):
    weights = {name: array.copy() for name, array in start.items()}
    momenta = {name: np.zeros_like(array) for name, array in start.items()}
    state = (np.zeros(4), np.zeros(4))
    for t in range(1, STEPS + 1):
        for name, weight in weights.items():
            gradient = CLIP * gradients[t - 1][name]
            if weight.ndim == 1:
                weights[name], state = adamw(weight, gradient, state, t)
                continue
            decay = DECAY if PARAMETERS[name][3] else 0
            for w, g, m in zip(*(matrices(name, x) for x in (weight, gradient, momenta[name]))):
                w[...], m[...] = muon(w.copy(), g, m.copy(), case, decay)
        for name, weight in weights.items():
            emit(f"{label}.{t}.{name}", weight)
    for name, momentum in momenta.items():
        if momentum.ndim > 1:
            emit(f"{label}.momentum.{name}", momentum)


def main():
    random = np.random.default_rng(5)
    draw = lambda: {n: np.round(random.standard_normal(p[0]), 3) for n, p in PARAMETERS.items()}
    start, gradients = draw(), [draw() for _ in range(STEPS)]
    for name, array in start.items():
        emit(f"start.{name}", array)
    for t, step in enumerate(gradients, 1):
        for name, array in step.items():
            emit(f"gradient.{t}.{name}", array)
    for label, case in CASES.items():
        run(label, case, start, gradients)


main()
