"""Constraints: what a sample must keep beside its ranges, each with a message."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

MOST_DRAWS = 10_000  # before a space is said to hold nothing


class Constraints:
    """Predicates over a sample's values, by the message that says what they ask for.

    Args:
        given: message -> function of all values of a sample (name of the space -> value), true where they are allowed.
    Raises: ValueError for what is no such mapping.

    >>> small = Constraints({"a batch must fit": lambda values: values["batch_size"] * values["model.width"] <= 4096})
    >>> small.broken({"batch_size": 128, "model.width": 64}), small.broken({"batch_size": 32, "model.width": 64})
    ('a batch must fit', None)
    """

    def __init__(self, given: Mapping[str, Callable[[Mapping[str, Any]], bool]] | None = None):
        self.given = {} if given is None else dict(given) if isinstance(given, Mapping) else given
        if not isinstance(self.given, dict):
            raise ValueError(f"constraints must map messages to functions of a sample's values, got {given!r}")
        for message, predicate in self.given.items():
            if not isinstance(message, str) or not message.strip() or not callable(predicate):
                raise ValueError(
                    f"constraints must map messages to functions of a sample's values, got {message!r}: {predicate!r}"
                )

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """The message of the first constraint that a sample breaks; None where it keeps them all.

        Raises: ValueError for a constraint that reads a name which the space lacks.
        """
        for message, predicate in self.given.items():
            try:
                kept = predicate(values)
            except KeyError as error:
                raise ValueError(
                    f"constraint {message!r} must read names of the space, {', '.join(values)}, got {error}"
                ) from None
            if not kept:
                return message
        return None

    def kept(self, draw: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `draw` gives first that keeps them all.

        Raises: ValueError that names the constraints when nothing that is drawn does.
        """
        found: Counter[str] = Counter()
        while found.total() < MOST_DRAWS:
            values = draw()
            message = self.broken(values)
            if message is None:
                return values
            found[message] += 1
        raise self.nothing_left(found)

    @staticmethod
    def nothing_left(broken: Counter[str]) -> ValueError:
        """What to raise where every sample breaks something; `broken` counts which constraint came first."""
        told = ", ".join(f"{message!r} in {count}" for message, count in broken.most_common())
        return ValueError(
            f"constraints must leave something to sample, got {broken.total()} samples that all break one: {told}"
        )
