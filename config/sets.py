"""The set language of the matrix: which models may run together (``tests/compat/config.md`` §11.3).

::

    expr := term { "|" term }        term := atom { "&" atom }
    atom := NAME | "+" SET | "(" expr ")"

``compile_sets`` turns expressions into a ``Program`` (``set_program.py``), or into complaints that show the place.
Called by ``routing.py``.
"""

import difflib
import re
from collections.abc import Iterable, Mapping

from config.set_program import Expr, Leaf, Program, either, together

MOST_STEPS = 10_000
"""Steps that one decision about one set may take at worst; a step is about a microsecond."""
NO_BIT = -1
"""Of a short name whose model does not exist: that is complained of where the name is given."""
DEEPEST = 100
"""Levels of parentheses and references."""
_TOKEN = re.compile(r"\s*(?:(?P<name>\+?[\w.\-]+)|(?P<mark>[&|()])|(?P<odd>\S))")


class SetError(Exception):
    """An expression that is not one; the text says where, counting columns from 1."""


class _Reader:
    """Recursive descent over one expression.

    ``models``: bit of each name; ``sets``: what ``+name`` stands for; ``known``: names of all sets, for hints.
    """

    def __init__(self, text: str, models: Mapping[str, int], sets: Mapping[str, Expr], known: Iterable[str]) -> None:
        self._models = models
        self._sets = sets
        self._known = frozenset(known)
        self._tokens = [
            (match[match.lastgroup or 0], match.start(match.lastgroup or 0) + 1, match.lastgroup)
            for match in _TOKEN.finditer(text.rstrip())
        ]
        self._end = len(text.rstrip()) + 1
        self._next = 0

    def read(self) -> Expr:
        expr = self._expr(0)
        if self._next < len(self._tokens):
            raise self._unexpected("expected '&', '|' or the end")
        return expr

    def _expr(self, level: int) -> Expr:
        if level > DEEPEST:
            raise SetError(f"nested more than {DEEPEST} deep at column {self._column()}")
        options = [self._term(level)]
        while self._take("|"):
            options.append(self._term(level))
        return either(options)

    def _term(self, level: int) -> Expr:
        members = [self._atom(level)]
        while self._take("&"):
            members.append(self._atom(level))
        return together(members)

    def _atom(self, level: int) -> Expr:
        if self._take("("):
            inner = self._expr(level + 1)
            if not self._take(")"):
                raise self._unexpected("expected ')'")
            return inner
        if self._next < len(self._tokens):
            word, column, kind = self._tokens[self._next]
            if kind == "name":
                self._next += 1
                return self._reference(word[1:], column) if word.startswith("+") else self._model(word, column)
        raise self._unexpected("expected a model, '+' and the name of a set, or '('")

    def _model(self, word: str, column: int) -> Expr:
        bit = self._models.get(word)
        if bit is None:
            hint = f"; a set is written '+{word}'" if word in self._known else suggest(word, self._models)
            raise SetError(f"unknown model {word!r} at column {column}{hint}")
        return Leaf(0 if bit == NO_BIT else 1 << bit)

    def _reference(self, word: str, column: int) -> Expr:
        found = self._sets.get(word)
        if found is None:
            raise SetError(f"unknown set {word!r} at column {column}{suggest(word, sorted(self._known))}")
        return found

    def _take(self, mark: str) -> bool:
        here = self._next < len(self._tokens) and self._tokens[self._next][0] == mark
        self._next += here
        return here

    def _unexpected(self, expected: str) -> SetError:
        if self._next < len(self._tokens):
            word, column, _ = self._tokens[self._next]
            return SetError(f"found {word!r} at column {column}, {expected}")
        return SetError(f"ends at column {self._end}, {expected}")

    def _column(self) -> int:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else self._end


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def references(text: str) -> list[str]:
    """The sets that an expression names, in order."""
    return [match["name"][1:] for match in _TOKEN.finditer(text) if (match["name"] or "").startswith("+")]


def compile_sets(
    sets: Mapping[str, str], names: Mapping[str, str], models: Iterable[str]
) -> tuple[Program, list[tuple[str, str]]]:
    """A program, and a problem for each set that is not one: (name of the set, text).

    ``sets``: expressions by name, in the order of the file; ``names``: short names (vars) for model ids.
    """
    bits = {model: bit for bit, model in enumerate(models)}
    words = bits | {name: bits.get(model, NO_BIT) for name, model in names.items()}
    problems: list[tuple[str, str]] = []
    compiled: dict[str, Expr] = {}
    for name in _evaluation_order(sets, problems):
        try:
            expr = _Reader(sets[name], words, compiled, sets).read()
            _check_size(expr)
        except SetError as error:
            problems.append((name, str(error)))
            # Whoever refers to it is not to blame: for him it stands for nothing in particular.
            expr = Leaf(0)
        compiled[name] = expr
    return Program(bits, compiled), problems


def _check_size(expr: Expr) -> None:
    if expr.depth > DEEPEST:
        raise SetError(f"nested more than {DEEPEST} deep, references included")
    if expr.steps > MOST_STEPS:
        raise SetError(
            f"one decision about it could take {expr.steps} steps, at most {MOST_STEPS} are allowed; "
            "name each model in one part of an '&' only, or split the set"
        )


def _evaluation_order(sets: Mapping[str, str], problems: list[tuple[str, str]]) -> list[str]:
    """Depth first: what a set refers to comes before it, each once, in the order of the file."""
    order: list[str] = []
    state: dict[str, bool] = {}
    for first in sets:
        stack = [(first, iter(references(sets[first])))] if first not in state else []
        state.setdefault(first, False)
        while stack:
            name, rest = stack[-1]
            other = next((ref for ref in rest if ref in sets), None)
            if other is None:
                if not state[name]:
                    state[name] = True
                    order.append(name)
                stack.pop()
            elif other not in state:
                state[other] = False
                stack.append((other, iter(references(sets[other]))))
            elif not state[other]:
                ring = [entry for entry, _ in stack][[entry for entry, _ in stack].index(other) :]
                problems.append((name, f"refers to itself: {' -> '.join([*ring, other])}"))
                return []
    return order
