"""Members spread over several devices of this host: each has an equal share of every chunk, and they never talk."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hyperjax.types import PyTree

_AXIS = "members"


class Spread:
    """A chunk over some devices, its first axis cut into as many pieces.

    Args:
        devices: at least one.
        axes: of each argument of the function: 0 where it has a member axis, None where all devices need it whole.
    """

    def __init__(self, devices: Sequence[jax.Device], axes: Sequence[int | None]):
        self._mesh = Mesh(np.array(devices), (_AXIS,))
        self._specs = tuple(PartitionSpec(_AXIS) if axis == 0 else PartitionSpec() for axis in axes)
        self.shardings = tuple(NamedSharding(self._mesh, spec) for spec in self._specs)

    def over(self, fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """`fn` of a chunk, called on each device with its share of the members."""
        out = PartitionSpec(_AXIS)
        return jax.shard_map(fn, mesh=self._mesh, in_specs=self._specs, out_specs=out, check_vma=False)

    def place(self, args: Sequence[PyTree]) -> tuple[PyTree, ...]:
        """The arguments where the devices need them; what lies there already is not copied."""
        return tuple(jax.device_put(arg, sharding) for arg, sharding in zip(args, self.shardings, strict=True))


class Placing:
    """A compiled program that puts its arguments where it needs them."""

    def __init__(self, program: Any, spread: Spread):
        self._program, self._spread = program, spread

    def __call__(self, *args: PyTree) -> PyTree:
        return self._program(*self._spread.place(args))

    def memory_analysis(self) -> Any:
        """XLA's own, for one device."""
        return self._program.memory_analysis()


def of_layout(layout: str) -> tuple[jax.Device, ...]:
    """The devices that a layout spreads members over, unless somebody says otherwise.

    Under "vmap" all of this host's; under "map" one, whose cores are served by threads. Where `jax.default_device` is
    set, that one.
    """
    chosen: Any = jax.config.jax_default_device  # type: ignore[attr-defined, unused-ignore]
    if chosen is not None:
        return (jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen,)
    return tuple(jax.local_devices()[:1] if layout == "map" else jax.local_devices())
