"""Constraints as text: a small language of comparisons over a sample's values, read with `ast` and never evaluated."""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, NoReturn

from hyperjax.checks import nearest

_ALLOWED = "comparisons, + - * / // % **, and, or, not, names of the space, numbers, texts and lists of those"
_DEEPEST = 50  # levels of a text, which is read by a function that calls itself
_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, power: float(base) ** power,  # of whole numbers it could take for ever
}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, listed: _among(value, listed),
    ast.NotIn: lambda value, listed: not _among(value, listed),
}


class Expression:
    """A predicate over a sample's values, from text.

    Names with dots are names of the space; `learning_rate.boundaries.0` is written `learning_rate.boundaries[0]`.

    Args:
        message: of the constraint, for errors.
        text: what must be true.
    Raises: ValueError for text that is not made of what is allowed.

    >>> fits = Expression("a batch must fit", "batch_size * model.width <= 4096 or optimizer in ['sgd', 'lion']")
    >>> fits({"batch_size": 64, "model.width": 64, "optimizer": "adam"})
    True
    >>> fits({"batch_size": 128, "model.width": 64, "optimizer": "adam"})
    False
    """

    def __init__(self, message: str, text: str):
        self.text, self._message = text, message
        self._names: dict[str, None] = {}
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._refuse(f"be a comparison such as 'batch_size <= 64', got {text!r}: {getattr(error, 'msg', error)}")
        self._check(self._tree)

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise for a name that is none of these.

        Raises: ValueError that names it.
        """
        known = list(names)
        for name in self._names:
            if name not in known:
                self._refuse(f"read names of the space, {', '.join(known)}, got {name!r}{nearest(name, known)}")

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Whether a sample's values keep it.

        Raises: ValueError where they cannot be compared or computed with.
        """
        return self._truth(self._tree, values)

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(f"constraint {self._message!r} must {what}")

    def _check(self, node: ast.AST, depth: int = 0) -> None:
        if depth > _DEEPEST:
            self._refuse(f"have at most {_DEEPEST} levels, got {self.text!r}")
        name = _dotted(node)
        if name is not None:
            self._names[name] = None
            return
        inside: list[ast.AST] = []
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                pass
            case ast.BoolOp(values=[*each]) | ast.List(elts=[*each]) | ast.Tuple(elts=[*each]):
                inside = [*each]
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
                inside = [operand]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                inside = [left, right]
            case ast.Compare(left=left, ops=[*ops], comparators=[*each]) if all(type(op) in _COMPARISONS for op in ops):
                inside = [left, *each]
            case _:
                self._refuse(f"be made of {_ALLOWED}, got {ast.unparse(node)!r} in {self.text!r}")
        for each_node in inside:
            self._check(each_node, depth + 1)

    def _truth(self, node: ast.AST, values: Mapping[str, Any]) -> bool:
        found = self._value(node, values)
        if not isinstance(found, bool):
            self._refuse(
                f"compare where something must be true or false, got {ast.unparse(node)!r}, which is {found!r}"
            )
        return found

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        name = _dotted(node)
        if name is not None:
            return values[name]
        match node:
            case ast.Constant(value=value):
                return value
            case ast.List(elts=each) | ast.Tuple(elts=each):
                return [self._value(item, values) for item in each]
            case ast.BoolOp(op=ast.And(), values=each):
                return all(self._truth(item, values) for item in each)
            case ast.BoolOp(values=each):
                return any(self._truth(item, values) for item in each)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._truth(operand, values)
            case ast.UnaryOp(op=op, operand=operand):
                number = self._number(operand, values)
                return -number if isinstance(op, ast.USub) else number
            case ast.BinOp(left=left, op=op, right=right):
                return self._done(node, _ARITHMETIC[type(op)], self._number(left, values), self._number(right, values))
        assert isinstance(node, ast.Compare)
        before = self._value(node.left, values)
        for comparison, item in zip(node.ops, node.comparators, strict=True):
            after = self._value(item, values)
            if not self._done(node, _COMPARISONS[type(comparison)], before, after):
                return False
            before = after
        return True

    def _number(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        found = self._value(node, values)
        if isinstance(found, bool) or not isinstance(found, Real):
            self._refuse(f"compute with numbers alone, got {ast.unparse(node)!r}, which is {found!r}")
        return found

    def _done(self, node: ast.AST, operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        try:
            return operation(left, right)
        except (TypeError, ArithmeticError) as error:
            self._refuse(f"be possible for every sample, got {left!r} and {right!r} in {ast.unparse(node)!r}: {error}")


def _among(value: Any, listed: Any) -> bool:
    if not isinstance(listed, list | tuple):
        raise TypeError("what follows in must be a list")
    return value in listed


def _dotted(node: ast.AST) -> str | None:
    """The name of a space that a node spells."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=last) | ast.Subscript(value=value, slice=ast.Constant(value=int(last))):
            whole = _dotted(value)
            return whole and f"{whole}.{last}"
    return None
