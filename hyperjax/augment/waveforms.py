"""Augmentation of sound as samples, float[examples, time]."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from hyperjax.augment.examples import each, number
from hyperjax.types import Array, Scalar

_AXES = "examples, time"


def noise(key: Array, waveforms: Any, strength: Scalar) -> Array:
    """Add white Gaussian noise in a given ratio to each waveform's own loudness.

    `x + s rms(x) n` with n standard normal and `rms(x)` the root of the mean of x^2. The signal-to-noise ratio is
    -20 log10(s) decibels: 0.1 is 20 dB.

    Args:
        key: one typed key, of any implementation.
        waveforms: float[examples, time], of any unit, 0 being silence.
        strength: s, float[] at least 0, the ratio of the noise's amplitude to the signal's; may be traced.
    Returns: as `waveforms`; at 0, `waveforms` bit for bit. Silence stays silent, and its derivatives are finite.
    Raises: ValueError on a strength out of range, or waveforms that are not floats of two axes.
    Source: the definition of the signal-to-noise ratio. audiomentations: `AddGaussianSNR`.

    >>> from hyperjax import random
    >>> noisy = noise(random.key(0), jnp.ones((1, 10000)), 0.1)
    >>> print(f"{jnp.std(noisy):.2f}")
    0.10
    """
    number("strength of noise", strength)
    return each(_noisy, key, waveforms, strength, name="waveforms", axes=_AXES)


def gain(key: Array, waveforms: Any, strength: Scalar) -> Array:
    """Make each waveform louder or softer by a random number of decibels.

    `10^(s u / 20) x` with u uniform in [-1, 1).

    Args:
        key: one typed key, of any implementation.
        waveforms: float[examples, time], of any unit, 0 being silence.
        strength: s, float[] at least 0, the greatest change in decibels; may be traced.
    Returns: as `waveforms`, not clipped; at 0, `waveforms` bit for bit.
    Raises: ValueError on a strength out of range, or waveforms that are not floats of two axes.
    Source: the definition of the decibel of amplitude. audiomentations: `Gain(-s, s)`.

    >>> from hyperjax import random
    >>> louder = gain(random.key(0), jnp.ones((1, 2)), 6.0)
    >>> 0.5 < float(louder[0, 0]) < 2.0 and bool(louder[0, 0] == louder[0, 1])
    True
    """
    number("strength of gain", strength)
    return each(_amplified, key, waveforms, strength, name="waveforms", axes=_AXES)


def time_shift(key: Array, waveforms: Any, strength: Scalar) -> Array:
    """Move each waveform earlier or later by a random part of its length, filling with silence.

    `x(t - d)`, d being `s u time` rounded to whole samples, u uniform in [-1, 1).

    Args:
        key: one typed key, of any implementation.
        waveforms: float[examples, time], of any unit, 0 being silence.
        strength: s, float[] in [0, 1], the greatest shift as a part of the length; may be traced. Its derivative is 0,
            since samples move by whole places.
    Returns: as `waveforms`; at 0, `waveforms` bit for bit.
    Raises: ValueError on a strength out of range, or waveforms that are not floats of two axes.
    Source: audiomentations: `Shift(-s, s, rollover=False)`.

    >>> from hyperjax import random
    >>> moved = time_shift(random.key(0), jnp.ones((1, 10)), 0.5)
    >>> int(moved.sum()) < 10
    True
    """
    number("strength of time_shift", strength, 1.0)
    return each(_delayed, key, waveforms, strength, name="waveforms", axes=_AXES)


# In the order in which a chain applies them: noise follows the loudness that the waveform has by then.
TABLE: Mapping[str, Callable[..., Array]] = MappingProxyType({"time_shift": time_shift, "gain": gain, "noise": noise})


def _noisy(key: Array, wave: Array, s: Array) -> Array:
    power = jnp.mean(jnp.square(wave))
    rms = jnp.where(power > 0, jnp.sqrt(jnp.where(power > 0, power, 1.0)), 0.0)
    return wave + s * rms * jax.random.normal(key, wave.shape, jnp.float32)


def _amplified(key: Array, wave: Array, s: Array) -> Array:
    decibels = s * jax.random.uniform(key, (), jnp.float32, -1.0, 1.0)
    return wave * jnp.power(10.0, decibels / 20)


def _delayed(key: Array, wave: Array, s: Array) -> Array:
    # In float32 whatever the input, so that every type moves by the same number of samples.
    part = s.astype(jnp.float32) * jax.random.uniform(key, (), jnp.float32, -1.0, 1.0)
    source = jnp.arange(wave.size, dtype=jnp.int32) - jnp.round(part * wave.size).astype(jnp.int32)
    inside = (source >= 0) & (source < wave.size)
    return jnp.where(inside, wave[jnp.clip(source, 0, wave.size - 1)], 0.0)
