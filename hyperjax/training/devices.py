"""Several devices of this host: members spread over them, which never talk, or one member that they train together."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hyperjax.types import PyTree

_AXIS = "members"
_DATA = "data"


class Spread:
    """A chunk over some devices, its first axis cut into as many pieces.

    Args:
        devices: at least one.
        axes: of each argument of the function: 0 where it has a member axis, None where all devices need it whole.
    """

    def __init__(self, devices: Sequence[jax.Device], axes: Sequence[int | None]):
        self._mesh = Mesh(np.array(devices), (_AXIS,))
        self._specs = tuple(PartitionSpec(_AXIS) if axis == 0 else PartitionSpec() for axis in axes)
        self._shardings = tuple(NamedSharding(self._mesh, spec) for spec in self._specs)

    def jit(self, fn: Callable[..., PyTree], args: Sequence[PyTree], donate: tuple[int, ...] = ()) -> Any:
        """`fn` of a chunk, called on each device with its share of the members."""
        out = PartitionSpec(_AXIS)
        over = jax.shard_map(fn, mesh=self._mesh, in_specs=self._specs, out_specs=out, check_vma=False)
        return jax.jit(over, donate_argnums=donate, in_shardings=self._shardings)

    def place(self, args: Sequence[PyTree]) -> tuple[PyTree, ...]:
        """The arguments where the devices need them; what lies there already is not copied."""
        return tuple(jax.device_put(arg, sharding) for arg, sharding in zip(args, self._shardings, strict=True))


@dataclass(frozen=True)
class Shards:
    """Devices that train a member together: each holds all of its weights and state, and computes on a part of a batch.

    The program stays one of whole arrays, and XLA adds up what the devices have (GSPMD). So a mean over a batch is one
    over all of it, BatchNorm's too, and masks are those of one device; only sums are taken in another order.

    Attributes:
        devices: as `chosen` gives them.
    """

    devices: tuple[jax.Device, ...]

    @functools.cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (_DATA,))

    @functools.cached_property
    def _whole(self) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec())

    def batch(self, examples: PyTree) -> PyTree:
        """Arrays of examples inside a program, each device working on its part; on the whole where they do not divide.

        What is computed of them example by example follows.
        """

        def part(array: jax.Array) -> jax.Array:
            sharding = self.along(0, array.shape)
            return array if sharding is self._whole else jax.lax.with_sharding_constraint(array, sharding)

        return jax.tree.map(part, examples)

    def put(self, block: PyTree, axis: int = 0) -> PyTree:
        """Arrays of the host on the devices, each with its part along an axis, or the whole where that does not divide.

        A program that `jit` makes takes them as they lie: [steps, batch, ...] along axis 1 needs no copy in a step.
        """
        return jax.tree.map(lambda array: jax.device_put(array, self.along(axis, np.shape(array))), block)

    def jit(self, fn: Callable[..., PyTree], args: Sequence[PyTree], donate: tuple[int, ...] = ()) -> Any:
        """`fn` over all the devices, its results whole on each."""
        return jax.jit(fn, donate_argnums=donate, in_shardings=self.lying(args), out_shardings=self._whole)

    def place(self, args: Sequence[PyTree]) -> tuple[PyTree, ...]:
        """The arguments on every device, whole but for what `put` has cut."""
        placed: tuple[PyTree, ...] = jax.device_put(tuple(args), self.lying(args))
        return placed

    def lying(self, args: Sequence[PyTree]) -> tuple[PyTree, ...]:
        """How each array lies, or will when it is placed."""

        def sharding(leaf: Any) -> NamedSharding:
            own = getattr(leaf, "sharding", None)
            if isinstance(own, NamedSharding) and own.mesh == self._mesh and not own.is_fully_replicated:
                return own
            return self._whole

        return tuple(jax.tree.map(sharding, arg) for arg in args)

    def along(self, axis: int, shape: tuple[int, ...]) -> NamedSharding:
        """How an array lies that is cut along an axis, or is whole on each device where that does not divide."""
        if len(self.devices) == 1 or shape[axis] % len(self.devices):
            return self._whole
        return NamedSharding(self._mesh, PartitionSpec(*[None] * axis, _DATA))


def chosen(devices: Any) -> tuple[jax.Device, ...]:
    """Devices that somebody names.

    Raises: ValueError unless they are at least one of this process's, different ones of one kind.

    >>> chosen([])
    Traceback (most recent call last):
    ValueError: devices must hold at least one of jax.local_devices(), different ones of one kind, got []
    """
    listed = tuple(devices) if isinstance(devices, Iterable) else ()
    own = listed and all(isinstance(device, jax.Device) for device in listed)
    alike = own and len({(device.platform, device.process_index) for device in listed}) == 1
    if not alike or len(set(listed)) != len(listed) or listed[0].process_index != jax.process_index():
        raise ValueError(
            f"devices must hold at least one of jax.local_devices(), different ones of one kind, got {devices!r}"
        )
    return listed


class Placing:
    """A compiled program that puts its arguments where it needs them."""

    def __init__(self, program: Any, spread: Spread | Shards):
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
