"""Constraints: what a sample must keep beside its ranges, each with a message."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hyperjax.studies.expressions import Expression

MOST_DRAWS = 10_000  # before a space is said to hold nothing
Predicate = str | Callable[[Mapping[str, Any]], bool]


class Constraints:
    """Predicates over a sample's values, by the message that says what they ask for.

    Args:
        given: message -> what is true where a sample is allowed: text over names of the space, as `Expression` reads
            it, or a function of all values of a sample (name of the space -> value).
        names: of the space; None where they are not known yet.
    Raises: ValueError for what is no such mapping, and for text that is no comparison or reads an unknown name.

    >>> small = Constraints({"a batch must fit": "batch_size * model.width <= 4096"})
    >>> small.broken({"batch_size": 128, "model.width": 64}), small.broken({"batch_size": 32, "model.width": 64})
    ('a batch must fit', None)
    """

    def __init__(self, given: Mapping[str, Predicate] | None = None, names: Iterable[str] | None = None):
        self.given = {} if given is None else dict(given) if isinstance(given, Mapping) else given
        what = "constraints must map messages to functions of a sample's values, got"
        also = "; a text such as 'batch_size <= 64' does as well"
        if not isinstance(self.given, dict):
            raise ValueError(f"{what} {given!r}{also}")
        self._predicates: dict[str, Callable[[Mapping[str, Any]], bool]] = {}
        for message, predicate in self.given.items():
            known = isinstance(predicate, str) or callable(predicate)
            if not isinstance(message, str) or not message.strip() or not known:
                raise ValueError(f"{what} {message!r}: {predicate!r}{also}")
            if isinstance(predicate, str):
                predicate = Expression(message, predicate)
                if names is not None:
                    predicate.refuse_unknown(names)
            self._predicates[message] = predicate

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """The message of the first constraint that a sample breaks; None where it keeps them all.

        Raises: ValueError for a constraint that reads a name which the space lacks.
        """
        for message, predicate in self._predicates.items():
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
