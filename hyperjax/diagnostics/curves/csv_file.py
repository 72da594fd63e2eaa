"""Columns of losses, found in tables as frameworks write them."""

import csv
import io
import math
import os
import re
from pathlib import Path
from typing import Any

NAMES = {  # by what people call them, the likeliest first
    "steps": [
        "step",
        "steps",
        "global_step",
        "iteration",
        "iterations",
        "iter",
        "it",
        "update",
        "updates",
        "batch",
        "epoch",
        "epochs",
    ],
    "train": [
        "train_loss",
        "training_loss",
        "loss_train",
        "loss_training",
        "train",
        "training",
        "loss",
        "train_loss_epoch",
        "train_loss_step",
        "tr_loss",
        "cost",
        "objective",
    ],
    "validation": [
        "validation_loss",
        "valid_loss",
        "val_loss",
        "loss_validation",
        "loss_valid",
        "loss_val",
        "validation",
        "valid",
        "val",
        "eval_loss",
        "dev_loss",
        "test_loss",
        "eval",
        "dev",
        "test",
    ],
    "rate": ["learning_rate", "lr", "rate"],
}
MISSING = ("", "-", "na", "n/a", "none", "null")


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of a `Curve`, from a file; see `Curve.read_csv`.

    Raises: ValueError that names line and column.
    """
    header, rows, separator = _table(path)
    columns = _columns(header, path)
    found: dict[str, list[tuple[int, float, float]]] = {}  # line, step, value
    last: dict[str, tuple[int, float]] = {}
    rates: dict[float, float] = {}
    for number, (line, cells) in enumerate(rows):
        values = {
            kind: _value(cells[at], f"{path}, line {line}: column {header[at]!r}", separator)
            for kind, at in columns.items()
        }
        step = values.get("steps", float(number))
        if step is None or not math.isfinite(step):
            name = header[columns["steps"]]
            raise ValueError(
                f"{path}, line {line}: column {name!r} must be a finite number, got {cells[columns['steps']]!r}"
            )
        if values.get("rate") is not None:
            rates[step] = values["rate"]  # type: ignore[assignment]
        for kind in ("train", "validation"):
            value = values.get(kind)
            if value is None:
                continue
            if kind in last and step <= last[kind][1]:
                how = "doubled, first" if step == last[kind][1] else "smaller than the one before it,"
                raise ValueError(
                    f"{path}, line {line}: column {header[columns['steps']]!r} must rise, got {step:g}, which is {how} "
                    f"in line {last[kind][0]}"
                )
            last[kind] = (line, step)
            found.setdefault(kind, []).append((line, step, value))
    train = found.get("train", [])
    if len(train) < 2:
        raise ValueError(f"{path}: column {header[columns['train']]!r} must have at least 2 losses, got {len(train)}")
    steps = [step for _, step, _ in train]
    validation = found.get("validation")
    name = _plain(header[columns["steps"]]) if "steps" in columns else "step"
    return {
        "steps": steps,
        "train": [value for *_, value in train],
        "validation": None if validation is None else [value for *_, value in validation],
        "validation_steps": None if validation is None else [step for _, step, _ in validation],
        "rate": [rates[step] for step in steps] if rates and all(step in rates for step in steps) else None,
        "unit": "epoch" if name.startswith("epoch") else "step",
    }


def _table(path: str | os.PathLike[str]) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Header, rows with their lines, and what separates cells."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} must be a file that can be read: {error.strerror or error}") from None
    text = _text(data, path)
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        raise ValueError(f"{path} must be a table with a header and rows, got an empty file")
    separator = max(",;\t", key=lines[first].count)
    reader = csv.reader(io.StringIO("\n".join(lines[first:])), delimiter=separator, skipinitialspace=True)
    table: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                table.append((first + reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"{path}, line {first + reader.line_num}: no row of a table: {error}") from None
    (_, header), rows = table[0], table[1:]
    for line, cells in rows:
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, line {line}: a row must have {len(header)} cells as the header, got {len(cells)}"
            )
    return header, rows, separator


def _text(data: bytes, path: str | os.PathLike[str]) -> str:
    """Bytes as text, by their mark, or by what they cannot be.

    >>> _text("é".encode("latin-1"), ""), _text("é".encode("utf-16"), ""), _text("a,b".encode("utf-16-le"), "")
    ('é', 'é', 'a,b')
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif b"\0" in data[:64]:
        encodings = ["utf-16-be" if data[:1] == b"\0" else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ValueError(f"{path} must be a text in UTF-8, UTF-16 or Latin-1, got bytes that are none")


def _columns(header: list[str], path: str | os.PathLike[str]) -> dict[str, int]:
    """Place of each kind of column that is there."""
    plain = [_plain(name) for name in header]
    columns = {}
    for kind, names in NAMES.items():
        name = next((name for name in names if name in plain), None)
        if name is None:
            continue
        if plain.count(name) > 1:
            raise ValueError(f"{path}: column {name!r} must be there once, got it {plain.count(name)} times")
        columns[kind] = plain.index(name)
    if "train" not in columns:
        raise ValueError(
            f"{path}: a column must hold training losses (train, loss, train_loss, ...), got the columns "
            f"{', '.join(map(repr, header))[:200]}"
        )
    return columns


def _plain(name: str) -> str:
    """A heading without case, blanks and punctuation.

    >>> _plain(" Train/Loss "), _plain("Val. loss")
    ('train_loss', 'val_loss')
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _value(cell: str, place: str, separator: str) -> float | None:
    """The number in a cell, None where nothing was written down."""
    text = cell.lower()
    if text in MISSING:
        return None
    if separator != "," and "." not in text:
        text = text.replace(",", ".")  # as half of Europe writes it
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"{place} must hold numbers, got {cell[:40]!r}") from None
