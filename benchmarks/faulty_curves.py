"""Curves with planted faults, made by formulas: what `diagnoses.py` judges diagnoses by.

Each has a shape of fall, a floor, noise of its own kind, and one fault, or none. `KINDS` says what a diagnosis of each
must find, one of several where a fault has several faces, and what it may find besides.
"""

from typing import NamedTuple

import numpy as np

from hyperjax.diagnostics import Curve


class Kind(NamedTuple):
    """What a planted fault must be called."""

    wanted: frozenset[str]  # one of these at least
    allowed: frozenset[str]  # and of these any


def _kind(wanted: str, allowed: str = "") -> Kind:
    return Kind(frozenset(wanted.split()), frozenset(allowed.split()))


HEALTHY = _kind("healthy still_improving")
KINDS = {
    "healthy": HEALTHY,
    "heavy noise": HEALTHY,
    "cyclic schedule": HEALTHY,
    "restarts": HEALTHY,
    "still improving": _kind("still_improving", "healthy"),
    "rate x30": _kind("diverged oscillating stalled", "underfitting"),
    "rate /30": _kind("too_slow", "stalled still_improving"),
    "few examples": _kind("overfitting"),
    "label noise": _kind("overfitting"),
    "plateau": _kind("stalled", "underfitting too_slow still_improving"),
    "late divergence": _kind("diverged", "oscillating"),
    "model too small": _kind("underfitting stalled", "still_improving"),
    "too short": _kind("too_short"),
}
FAULTLESS = ("healthy", "heavy noise", "cyclic schedule", "restarts", "still improving")


class Made(NamedTuple):
    """A curve, and what is true of it."""

    curve: Curve
    kind: str
    gaps: bool


def make(kind: str, seed: int, others: bool = False) -> Made:
    """A curve of a kind.

    Args:
        kind: one of `KINDS`.
        seed: of everything about it.
        others: shapes and noise that curves made without it never have.
    """
    draw = np.random.default_rng([seed, *kind.encode(), others])
    gaps = bool(draw.random() < 0.2) and kind != "too short"
    dense = draw.random() < 0.5  # a loss a step, validated now and then; else one of each an epoch
    validations = int(draw.integers(24 if kind in ("cyclic schedule", "restarts") else 12, 60))
    every = int(draw.integers(5, 30)) if dense else 1
    n = validations * every
    if kind == "too short":
        n, every, dense = int(draw.integers(2, 5)), 1, False
    t = np.arange(1, n + 1) / n
    start, floor = float(np.exp(draw.normal(0, 1))), draw.uniform(0.02, 0.35)
    noise = draw.uniform(0.01, 0.06) * (1.5 if dense else 0.5)
    shape = _shape(draw, others)
    decay = draw.uniform(8, 40)  # e-folds or the like in the run
    train, gap, rate = _fallen(shape, t, decay, floor), draw.uniform(0.0, 0.15), None
    validation = train + gap * (1 - train) * draw.uniform(0.5, 1)
    jitter = noise * draw.uniform(0.1, 0.3) if dense else noise * draw.uniform(0.2, 0.6)
    if kind == "heavy noise":
        noise, jitter = draw.uniform(0.15, 0.5), draw.uniform(0.005, 0.02)
    elif kind == "still improving":
        tail = draw.uniform(0.1, 0.3) * np.exp(-draw.uniform(1, 2.5) * t)  # what is learnt late
        train = floor + (1 - floor) * (0.75 * _fallen(shape, t, max(decay, 25), 0.0) + tail)
        validation = train + gap * (1 - train)
        noise, jitter = noise * 0.4, jitter * 0.4
    elif kind in ("cyclic schedule", "restarts"):
        train, validation, rate = _cycles(kind, draw, t, train, validation, validations)
    elif kind == "rate x30":
        train, validation, jitter = _too_high(draw, t, floor, jitter, every)
    elif kind == "rate /30":
        train = _fallen(shape, t / 30, 2 * decay, floor)
        validation = train + gap * (1 - train) * 0.3
    elif kind in ("few examples", "label noise"):
        few = kind == "few examples"
        turn = draw.uniform(0.1, 0.5)
        train = _fallen(shape, t, decay if few else decay / 2, 0.0 if few else draw.uniform(0.0, 0.3))
        low = draw.uniform(0.3, 0.6)
        validation = low + (1 - low) * (_fallen(shape, t, 3 / turn + decay / 3, 0.0))
        rise = (1 - low) * draw.uniform(*((0.3, 1.5) if few else (0.2, 0.6)))
        validation = validation + rise * np.maximum(t - turn, 0) / (1 - turn)
    elif kind == "plateau":
        train, validation = _stuck(draw, t, train, gap * 0.3)
    elif kind == "late divergence":
        train, validation = _lost(draw, t, train, validation)
    elif kind == "model too small":
        high = draw.uniform(0.75, 0.9)
        train = _fallen(shape, t, decay, high)
        validation = train + 0.05 * gap
    train, validation = (
        start * (values + spread * np.minimum(np.maximum(values, 0.1), 2) ** 0.5 * _noise(draw, n, others))
        for values, spread in ((train, noise), (validation, jitter))
    )
    places = np.arange(every - 1, n, every)
    unseen = draw.random() < 0.15 and kind not in ("few examples", "label noise")
    seen = None if unseen else validation[places]
    if gaps:
        train = np.where(draw.random(n) < draw.uniform(0.1, 0.4), np.nan, train)
        train[-1] = train[-1] if np.isfinite(train[-1]) or kind in ("rate x30", "late divergence") else start * floor
        if seen is not None:
            seen = np.where(draw.random(len(seen)) < 0.2, np.nan, seen)
    steps = np.arange(1, n + 1)
    known = rate is not None and draw.random() < 0.5
    return Made(
        Curve(steps, train, seen, None if seen is None else steps[places], rate=rate if known else None), kind, gaps
    )


def _shape(draw: np.random.Generator, others: bool) -> str:
    return str(draw.choice(["stretched", "quadratic"] if others else ["exponential", "power", "two"]))


def _fallen(shape: str, t: np.ndarray, decay: float, floor: float) -> np.ndarray:
    """From 1 at t = 0 towards the floor; decay times t is what has been trained."""
    x = decay * t
    if shape == "exponential":
        rest = np.exp(-x)
    elif shape == "power":
        rest = (1 + x) ** -1.2
    elif shape == "two":
        rest = 0.7 * np.exp(-2 * x) + 0.3 * np.exp(-0.4 * x)
    elif shape == "stretched":
        rest = np.exp(-(x**0.7))
    else:  # descent on a quadratic of many eigenvalues
        rest = np.exp(-np.geomspace(0.2, 5, 12)[:, None] * x).mean(0)
    return floor + (1 - floor) * rest


def _noise(draw: np.random.Generator, n: int, others: bool) -> np.ndarray:
    kind = draw.choice(["student", "drifting"] if others else ["normal", "autocorrelated", "skewed"])
    if kind == "normal":
        return draw.normal(size=n)
    if kind == "student":
        return draw.standard_t(4, n) / np.sqrt(2)
    if kind == "skewed":
        return draw.gamma(4.0, size=n) / 2 - 2
    memory, white = draw.uniform(0.2, 0.5) if kind == "autocorrelated" else 0.6, draw.normal(size=n)
    for i in range(1, n):
        white[i] += memory * white[i - 1]
    return white * np.sqrt(1 - memory**2)


def _cycles(kind, draw, t, train, validation, validations):
    count = int(draw.integers(3, max(4, min(7, validations // 8 + 1))))
    phase = (t * count) % 1.0
    phase = np.where(t >= 1, 1.0, phase)
    wave = 1 - np.abs(2 * phase - 1) if kind == "cyclic schedule" else np.where(t * count < 1, 0.0, np.exp(-4 * phase))
    height = draw.uniform(0.08, 0.3)
    rate = 0.01 + (wave if kind == "cyclic schedule" else (1 + np.cos(np.pi * phase)) / 2) * 0.1
    return train + height * wave, validation + height * wave * draw.uniform(0.7, 1.2), rate


def _too_high(draw, t, floor, jitter, every):
    n, face = len(t), draw.choice(["explodes", "grows", "bounces", "stuck"])
    level = draw.uniform(0.35, 0.9)
    if face == "explodes":
        train = np.exp(draw.uniform(20, 400) * t) * (0.9 + 0.1 * draw.random(n))
        train = np.where(train > 1e6, np.inf, train)
        if np.isfinite(train).all():
            train[-1] = np.nan
        return train, train.copy(), jitter
    if face == "grows":
        train = np.exp(draw.uniform(1.5, 6) * t)
        return train, train * 1.1, jitter
    if face == "stuck":
        train = draw.uniform(0.85, 1.05) + draw.uniform(1.5, 5) * np.exp(-t * 60) * (np.arange(n) > 0)
        return train, train * 1.01, jitter
    swing, side = draw.uniform(0.12, 0.4), np.zeros(n)
    memory, white = draw.uniform(0.4, 0.9), draw.normal(size=n)
    for i in range(1, n):
        side[i] = -memory * side[i - 1] + white[i]
    side *= swing * np.sqrt(1 - memory**2)
    train = level + 0.3 * np.exp(-20 * t) + np.maximum(side, -level * 0.9)
    return train, level + np.maximum(swing * draw.normal(size=n), -level * 0.9), jitter


def _stuck(draw, t, train, gap):
    face = draw.choice(["never", "early", "middle"])
    if face == "never":
        flat = np.ones(len(t))
    elif face == "early":
        flat = np.maximum(_fallen("exponential", t, 60, 0.0), draw.uniform(0.75, 0.92))
    else:
        begin, length, high = draw.uniform(0.0, 0.15), draw.uniform(0.45, 0.6), draw.uniform(0.55, 0.95)
        end = begin + length
        before = 1 - (1 - high) * np.minimum(t / max(begin, 1e-9), 1)
        flat = np.where(t < end, before, high * (0.1 + 0.9 * np.exp(-(t - end) * 25)))
    return flat, flat + gap * (1 - flat)


def _lost(draw, t, train, validation):
    begin = draw.uniform(0.55, 0.9)
    worse = np.exp(np.maximum(t - begin, 0) / (1 - begin) * draw.uniform(1.2, 6)) - 1
    if draw.random() < 0.4:
        train = np.where(t > begin + (1 - begin) * 0.7, np.nan, train + worse)
        return train, np.where(np.isnan(train), np.nan, validation + worse)
    return train + worse, validation + worse
