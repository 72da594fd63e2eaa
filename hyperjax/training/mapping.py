"""Map a per-member function over a population, laid out as the machine likes it."""

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hyperjax.checks import one_of, positive_integer
from hyperjax.training.devices import Placing, Shards, Spread, chosen, of_layout
from hyperjax.training.precision import of_products, of_this_thread
from hyperjax.types import PyTree

LAYOUTS = ("auto", "map", "vmap")
CHUNKS_PER_THREAD = 8  # enough that threads end together when members differ in length


def population(
    fn: Callable[..., PyTree],
    layout: str = "auto",
    *,
    in_axes: int | Sequence[int | None] | None = 0,
    width: int | None = None,
    threads: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "Population":
    """Map any function of one member's arrays over the leading axis of its arguments, as `jax.vmap` would.

    On CPU (layout "map") members run one after another inside a chunk by `lax.map`, so that loops of data-dependent
    length and branches cost only what a member needs, and chunks are served by one thread a core. On accelerators
    (layout "vmap") members run side by side in blocks of one fixed width. The last chunk is padded with copies of the
    last member, so nothing compiles twice.

    Args:
        fn: pure JAX function of one member; compiled here, so it needs no `jax.jit`.
        layout: "map", "vmap", or "auto" (map on CPU, vmap elsewhere).
        in_axes: 0 for arguments with a leading member axis, None for those that all members share; one value, or one
            for each argument.
        width: members in a chunk or block; None lets the mapper decide (the whole population under vmap, halved until
            it fits the device's memory; an eighth of a thread's share under map).
        threads: threads that serve chunks under "map"; None is one a core.
        devices: over which a chunk is spread in equal shares; None: under "vmap" all of this host's, under "map" one.
        progress: called as `progress(done, total)` after each chunk, from the calling thread.
    Returns: a callable of the same arguments as `fn`; its results have the member axis first. Given tracers (inside
        your own jit, grad or vmap) it is plain `lax.map` or `jax.vmap`.
    Raises: ValueError for an unknown layout, arguments without a common leading axis, or an empty population.

    >>> import jax, jax.numpy as jnp
    >>> def collatz(n):  # steps until 1: a loop whose length differs between members
    ...     step = lambda s: (jnp.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), s[1] + 1)
    ...     return jax.lax.while_loop(lambda s: s[0] > 1, step, (n, 0))[1]
    >>> population(collatz)(jnp.array([1, 6, 27])).tolist()
    [0, 8, 111]
    """
    one_of("layout", layout, LAYOUTS)
    for name, value in {"width": width, "threads": threads}.items():
        if value is not None:
            positive_integer(name, value)
    own = None if devices is None else chosen(devices)
    return Population(fn, layout, in_axes, width, threads, progress, devices=own)


def resolved(layout: str) -> str:
    """The layout that "auto" means on JAX's default backend."""
    if layout != "auto":
        return layout
    return "map" if jax.default_backend() == "cpu" else "vmap"


class Population:
    """A function mapped over members; see `population`."""

    def __init__(
        self,
        fn: Callable[..., PyTree],
        layout: str = "auto",
        in_axes: int | Sequence[int | None] | None = 0,
        width: int | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        donate: tuple[int, ...] = (),
        devices: Sequence[jax.Device] | None = None,
        shards: Shards | None = None,
    ):
        self.fn, self.in_axes, self.width, self.progress = fn, in_axes, width, progress
        self.threads = threads or os.cpu_count() or 1
        self._layout, self._donate, self._devices, self._shards = layout, donate, devices, shards
        # A `with jax.default_matmul_precision(...)` holds in the caller's thread alone, and our threads compile too.
        self._precision = of_products()
        self._compiled: dict[Any, Any] = {}
        self._lock = threading.Lock()

    @property
    def layout(self) -> str:
        """ "map" or "vmap"; "auto" asks JAX for its default backend."""
        return resolved(self._layout)

    @property
    def devices(self) -> tuple[jax.Device, ...]:
        """Those that a chunk is spread over, or that work on each member together."""
        if self._shards is not None:
            return self._shards.devices
        return tuple(self._devices) if self._devices is not None else of_layout(self.layout)

    def rounded(self, width: int) -> int:
        """The next width that gives every device as many members."""
        shares = 1 if self._shards is not None else len(self.devices)
        return -(-width // shares) * shares

    def __call__(self, *args: PyTree) -> PyTree:
        axes = self._axes(args)
        size = _population_size(args, axes)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
            return self.mapped(*args)
        width = self.rounded(self.width or self._default_width(size, args, axes))
        starts = range(0, size, width)
        pieces = [_take(args, axes, start, width, size) for start in starts]
        results: list[PyTree] = [None] * len(pieces)
        run = self.compile(*pieces[0])
        for i, result in self.serve(pieces, lambda piece: jax.block_until_ready(run(*piece))):
            results[i] = _trim(result, min(width, size - starts[i]))
            if self.progress is not None:
                self.progress(
                    sum(min(width, size - s) for s, r in zip(starts, results, strict=True) if r is not None), size
                )
        return _join(results)

    def serve(self, pieces: Sequence[Any], work: Callable[[Any], PyTree]) -> Generator[tuple[int, PyTree]]:
        """Call `work` on each piece, under "map" from one thread a core; yield (index, result) as each is done.

        Interrupted (by an exception here or in `work`), it drops the pieces that wait, lets the running ones end, and
        raises.
        """
        if self.layout == "vmap" or len(self.devices) > 1:  # blocks queue at the devices, not in threads
            for i, piece in enumerate(pieces):
                yield i, work(piece)
            return
        work = of_this_thread(work)
        with ThreadPoolExecutor(min(self.threads, len(pieces))) as pool:
            running: dict[Future[PyTree], int] = {}
            # Not `wait`, which holds a lock of every piece for a moment each time: a Ctrl-C that comes then leaves them
            # locked, and threads that never end.
            ended: SimpleQueue[Future[PyTree]] = SimpleQueue()
            try:
                for i, piece in enumerate(pieces):
                    running[(submitted := pool.submit(work, piece))] = i
                    submitted.add_done_callback(ended.put)
                while running:
                    together = [ended.get(), *(ended.get() for _ in range(ended.qsize()))]
                    for done in sorted(together, key=running.__getitem__):
                        yield running.pop(done), done.result()
            finally:
                for waiting in running:
                    waiting.cancel()

    def compile(self, *piece: PyTree) -> Callable[..., PyTree]:
        """The executable for one chunk shaped like `piece` (arrays or `jax.ShapeDtypeStruct`s), compiled once."""
        leaves, tree = jax.tree.flatten(piece)
        kinds = tuple((np.shape(leaf), _dtype(leaf)) for leaf in leaves)
        key = (tree, kinds, self.layout, *(() if self._shards is None else self._shards.lying(leaves)))
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = self._compile_piece(piece)
            return self._compiled[key]  # type: ignore[no-any-return]

    @property
    def compiled(self) -> list[Any]:
        """The executables so far, one for each shape of a chunk."""
        return list(self._compiled.values())

    def lower(self, *piece: PyTree, platforms: tuple[str, ...] | None = None) -> Any:
        """The program for one chunk, lowered but not compiled; for other platforms too, without their hardware."""
        spread = self._spread(piece) if platforms is None else None
        mapped = jax.jit(self.mapped, donate_argnums=self._donate)
        if spread is not None:
            mapped = spread.jit(self.mapped, piece, self._donate)
        with jax.default_matmul_precision(self._precision):
            return mapped.trace(*piece).lower(lowering_platforms=platforms)

    def _compile_piece(self, piece: tuple[PyTree, ...]) -> Any:
        spread, program = self._spread(piece), self.lower(*piece).compile()
        return program if spread is None else Placing(program, spread)

    def shared(self, arg: PyTree) -> PyTree:
        """An argument that all members share, put on every device at once."""
        if self._shards is not None:
            return self._shards.place([arg])[0]
        return Spread(self.devices, [None]).place([arg])[0] if len(self.devices) > 1 else arg

    def _spread(self, args: tuple[PyTree, ...]) -> Spread | Shards | None:
        if self._shards is not None:
            return self._shards
        return Spread(self.devices, self._axes(args)) if len(self.devices) > 1 else None

    def _axes(self, args: tuple[PyTree, ...]) -> tuple[int | None, ...]:
        axes = self.in_axes
        given = (axes,) * len(args) if axes is None or isinstance(axes, int) else tuple(axes)
        if len(given) != len(args) or any(axis not in (0, None) for axis in given):
            raise ValueError(f"in_axes must be 0 or None for each of the {len(args)} arguments, got {axes!r}")
        return given

    def mapped(self, *args: PyTree) -> PyTree:
        """The function over one chunk, as plain JAX: `jax.vmap` or `jax.lax.map`."""
        axes = self._axes(args)
        if self.layout == "vmap":
            return jax.vmap(self.fn, axes)(*args)
        members = [a for a, axis in zip(args, axes, strict=True) if axis == 0]

        def one(member: list[PyTree]) -> PyTree:
            own = iter(member)
            return self.fn(*(next(own) if axis == 0 else a for a, axis in zip(args, axes, strict=True)))

        if jax.tree.leaves(members)[0].shape[0] == 1:  # no loop around a lone member
            return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], members)))
        return lax.map(one, members)

    def _default_width(self, size: int, args: tuple[PyTree, ...], axes: tuple[int | None, ...]) -> int:
        if self.layout == "map":
            return -(-size // (self.threads * CHUNKS_PER_THREAD))
        width = size
        while width > len(self.devices) and not self.fits(*_take(args, axes, 0, self.rounded(width), size)):
            width = -(-width // 2)
        return width

    def fits(self, *piece: PyTree) -> bool:
        """False when XLA's own analysis says that a chunk shaped like `piece` needs more memory than is free."""
        need, free = self.memory(*piece)
        return free is None or need <= free

    def memory(self, *piece: PyTree) -> tuple[int, int | None]:
        """Bytes that chunks shaped like `piece` need while they run, and bytes that are free; None where none can tell.

        Under "map" as many chunks run at a time as there are threads; virtual devices of a CPU share its memory.
        """
        needs = self.compile(*piece).memory_analysis()  # type: ignore[attr-defined]
        if needs is None:
            return 0, None
        at_once = len(self.devices) if self.devices[0].platform == "cpu" else 1
        if self.layout == "map" and len(self.devices) == 1:
            at_once = self.threads
        return at_once * int(needs.temp_size_in_bytes + needs.output_size_in_bytes), _free_memory()


def _free_memory() -> int | None:
    """Bytes that the device, or for a CPU the machine, has left."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats["bytes_in_use"])
    try:  # Linux; what caches hold is free too
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    known = dict(line.split(":", 1) for line in lines)
    kilobytes = known.get("MemAvailable") if jax.default_backend() == "cpu" else None
    return None if kilobytes is None else 1024 * int(kilobytes.split()[0])


def _dtype(leaf: Any) -> Any:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return dtype if jnp.issubdtype(dtype, jax.dtypes.extended) else jax.dtypes.canonicalize_dtype(dtype)


def _population_size(args: tuple[PyTree, ...], axes: tuple[int | None, ...]) -> int:
    leaves = [leaf for a, axis in zip(args, axes, strict=True) if axis == 0 for leaf in jax.tree.leaves(a)]
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in leaves}
    if len(sizes) != 1 or None in sizes or 0 in sizes:
        found = sorted(map(str, sizes)) or ["no array at all"]
        raise ValueError(f"arguments must share a leading member axis of at least 1, got sizes {', '.join(found)}")
    return int(next(iter(sizes)))  # type: ignore[arg-type]


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _take(
    args: tuple[PyTree, ...], axes: tuple[int | None, ...], start: int, width: int, size: int
) -> tuple[PyTree, ...]:
    index = np.minimum(np.arange(start, start + width), size - 1)  # past the end: copies of the last member

    def pick(leaf: Any) -> Any:
        if _is_key(leaf):
            data = np.asarray(jax.random.key_data(leaf))[index]
            return jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(leaf))
        return leaf[index] if not isinstance(leaf, jax.Array) or leaf.devices() != _host() else np.asarray(leaf)[index]

    return tuple(a if axis is None else jax.tree.map(pick, a) for a, axis in zip(args, axes, strict=True))


def _host() -> set[jax.Device]:
    return {jax.local_devices(backend="cpu")[0]}


def _trim(result: PyTree, count: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf if leaf.shape[0] == count else leaf[:count], result)


def _join(results: list[PyTree]) -> PyTree:
    def together(*leaves: jax.Array) -> jax.Array:
        if len(leaves) == 1:
            return leaves[0]
        if _is_key(leaves[0]) or leaves[0].devices() != _host():
            return jnp.concatenate(leaves)
        return jnp.asarray(np.concatenate([np.asarray(leaf) for leaf in leaves]))

    return jax.tree.map(together, *results)
