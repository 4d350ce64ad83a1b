"""Compiled sets: which running models may stay beside one that starts, without ever expanding the sets.

Parts of an ``&`` that share no model are decided on their own, the others by their combinations, seen through
the running models only. How much one decision may take at worst is known when an expression is made
(``steps``). Made by ``sets.py``; asked by the scheduler, through the Protocol in its ``evictions/matrix.py``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

MOST_COMPARED = 64
"""Combinations that are compared each with each; more are only freed of repetitions."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One model."""

    models: int
    steps: int = 1
    states: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Either:
    """One of several, in order."""

    models: int
    steps: int
    states: int
    depth: int
    options: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class Together:
    """All of it: ``always`` as a mask of models, and parts that share no model with each other.

    A part of several expressions is one whose members share models.
    """

    models: int
    steps: int
    states: int
    depth: int
    always: int
    parts: tuple[tuple["Expr", ...], ...]


Expr = Leaf | Either | Together
"""``models``: mask of all in it. ``steps``, ``states``: worst case of deciding it, and of its combinations."""


def either(options: list[Expr]) -> Expr:
    """One of these."""
    if len(options) == 1:
        return options[0]
    return Either(
        models=_union(options),
        steps=sum(option.steps for option in options) + 1,
        states=sum(option.states for option in options),
        depth=max(option.depth for option in options) + 1,
        options=tuple(options),
    )


def together(members: list[Expr]) -> Expr:
    """All of these."""
    if len(members) == 1:
        return members[0]
    always = _union(member for member in members if isinstance(member, Leaf))
    parts: list[tuple[int, list[Expr]]] = []
    for member in members:
        if isinstance(member, Leaf):
            continue
        mask: int = member.models
        joined: list[Expr] = [member]
        for part in [part for part in parts if part[0] & mask]:
            parts.remove(part)
            mask, joined = mask | part[0], [*part[1], *joined]
        parts.append((mask, joined))
    steps = 1 + sum(_part_steps(part) for _, part in parts)
    return Together(
        models=_union(members),
        steps=steps,
        states=prod(member.states for member in members),
        depth=max(member.depth for member in members) + 1,
        always=always,
        parts=tuple(tuple(part) for _, part in parts),
    )


def _part_steps(part: list[Expr]) -> int:
    if len(part) == 1:
        return part[0].steps
    return prod(member.states for member in part) + sum(member.steps for member in part)


def _union(members: Iterable[Expr]) -> int:
    mask = 0
    for member in members:
        mask |= member.models
    return mask


class Program:
    """All sets, in evaluation order. Immutable."""

    def __init__(self, models: Mapping[str, int], sets: Mapping[str, Expr]) -> None:
        """``models``: the bit of each model id; ``sets``: in evaluation order."""
        self._bits = dict(models)
        self._sets = tuple(sets.values())

    def keep(self, target: str, costs: Mapping[str, int]) -> frozenset[str] | None:
        """Of the running models ``costs``, those that may stay beside ``target`` at the lowest cost of the others.

        Costs are 0 or more. Of equal combinations the first one written wins. None: no set has the target.
        """
        if target not in self._bits:
            return None
        need = 1 << self._bits[target]
        weigh = _Scale({1 << self._bits[name]: cost for name, cost in costs.items() if name in self._bits})
        best: int | None = None
        for expr in self._sets:
            if expr.models & need:
                kept = _best(expr, need, weigh)
                if kept is not None and (best is None or weigh(kept) > weigh(best)):
                    best = kept
                    if kept == weigh.everything:
                        break
        if best is None:
            return None
        return frozenset(name for name in costs if name in self._bits and best >> self._bits[name] & 1)


class _Scale:
    """Weighs masks of running models."""

    def __init__(self, costs: dict[int, int]) -> None:
        self._costs = costs
        self.everything = 0
        for bit in costs:
            self.everything |= bit
        self._even = next(iter(costs.values()), 1) if len(set(costs.values())) <= 1 else None

    def __call__(self, mask: int) -> int:
        if self._even is not None:
            return self._even * mask.bit_count()
        total = 0
        while mask:
            bit = mask & -mask
            total += self._costs[bit]
            mask ^= bit
        return total


def _best(expr: Expr, need: int, weigh: _Scale) -> int | None:
    """The heaviest mask of running models that one combination with ``need`` in it covers; the first of equals."""
    if isinstance(expr, Leaf):
        return expr.models & weigh.everything if expr.models & need == need else None
    if isinstance(expr, Either):
        return _best_of(expr.options, need, weigh)
    kept = expr.always & weigh.everything
    need &= ~expr.always
    for part in expr.parts:
        models = part[0].models if len(part) == 1 else _union(part)
        here = need & models
        if not here and not models & weigh.everything:
            continue
        found = _best(part[0], here, weigh) if len(part) == 1 else _best_shared(part, here, weigh)
        if found is None:
            return None
        kept |= found
        need &= ~here
    return None if need else kept


def _best_of(options: tuple[Expr, ...], need: int, weigh: _Scale) -> int | None:
    best: int | None = None
    weight = -1
    for option in options:
        if need and not option.models & need:
            continue
        found = _best(option, need, weigh)
        if found is not None and (best is None or weigh(found) > weight):
            best, weight = found, weigh(found)
            if found == weigh.everything:
                break
    return best


def _best_shared(part: tuple[Expr, ...], need: int, weigh: _Scale) -> int | None:
    relevant = weigh.everything | need
    best: int | None = None
    weight = -1
    for state in _product([_states(member, relevant) for member in part]):
        if state & need == need:
            kept = state & weigh.everything
            if best is None or weigh(kept) > weight:
                best, weight = kept, weigh(kept)
    return best


def _states(expr: Expr, relevant: int) -> list[int]:
    """The combinations of an expression, seen through the relevant models; none is part of another one."""
    if isinstance(expr, Leaf):
        return [expr.models & relevant]
    if isinstance(expr, Either):
        return _pruned([state for option in expr.options for state in _states(option, relevant)])
    members = [_states(member, relevant) for part in expr.parts for member in part]
    return _product([[expr.always & relevant], *members])


def _product(choices: list[list[int]]) -> list[int]:
    states = [0]
    for choice in choices:
        states = _pruned([state | more for state in states for more in choice])
    return states


def _pruned(states: list[int]) -> list[int]:
    """Without repetitions and, while that is cheap, without what is part of another state; order is kept."""
    unique = list(dict.fromkeys(states))
    if len(unique) <= 1 or len(unique) > MOST_COMPARED:
        return unique
    kept: list[int] = []
    for state in sorted(unique, key=int.bit_count, reverse=True):
        if not any(state | other == other for other in kept):
            kept.append(state)
    chosen = set(kept)
    return [state for state in unique if state in chosen]
