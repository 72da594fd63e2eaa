"""Chunks that were trained, as bytes for another process: plain arrays, and what they are in JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hyperjax.training.chunk import Harvest
from hyperjax.training.program import Record

Place = tuple[int, int]  # a chunk's group, and its number there


def packed(harvests: Mapping[Place, Harvest]) -> bytes:
    """The bytes of some chunks."""
    about, arrays = [], []
    for place, harvest in harvests.items():
        records = {name: leaf for name, leaf in harvest.records._asdict().items() if leaf is not None}
        leaves = [np.ascontiguousarray(leaf) for leaf in (*records.values(), *jax.tree.leaves(harvest.carry))]
        kinds = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
        about.append({"place": place, "done": harvest.done, "records": list(records), "kinds": kinds})
        arrays += leaves
    head = json.dumps(about).encode()
    return b"".join([len(head).to_bytes(8, "little"), head, *(array.tobytes() for array in arrays)])


def unpacked(data: bytes, carries: Sequence[Any]) -> Iterator[tuple[Place, Harvest]]:
    """The chunks in some bytes.

    Args:
        carries: of each group, a carry of the same structure.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    for entry in json.loads(data[8:begin]):
        leaves = []
        for shape, name in entry["kinds"]:
            dtype = np.dtype(name)
            count = int(np.prod(shape, dtype=np.int64))
            leaves.append(np.frombuffer(data, dtype, count, begin).reshape(shape).copy())
            begin += count * dtype.itemsize
        group, chunk = entry["place"]
        named: dict[str, Any] = dict(zip(entry["records"], leaves, strict=False))
        fields: dict[str, Any] = {name: named.get(name) for name in Record._fields}
        carry = jax.tree.unflatten(jax.tree.structure(carries[group]), leaves[len(named) :])
        yield (group, chunk), Harvest(Record(**fields), carry, entry["done"])
