"""The set language: grammar, errors with their place, and the choice against an expansion of all combinations."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.set_program import Program
from config.sets import MOST_STEPS, compile_sets

MODELS = list("abcdefgh")
SEEN: Counter[str] = Counter()


def program(sets: dict[str, str], names: dict[str, str] | None = None, models: list[str] | None = None) -> Program:
    made, problems = compile_sets(sets, names or {}, models or MODELS)
    assert not problems
    return made


def complaint(sets: dict[str, str]) -> str:
    _, problems = compile_sets(sets, {"short": "a"}, [*MODELS, "sdxl"])
    assert problems
    return "; ".join(f"{name}: {text}" for name, text in problems)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("", "s: ends at column 1, expected a model, '+' and the name of a set, or '('"),
        ("a &", "s: ends at column 4, expected a model, '+' and the name of a set, or '('"),
        ("a | & b", "s: found '&' at column 5, expected a model, '+' and the name of a set, or '('"),
        ("()", "s: found ')' at column 2, expected a model, '+' and the name of a set, or '('"),
        ("(a | b", "s: ends at column 7, expected ')'"),
        ("a b", "s: found 'b' at column 3, expected '&', '|' or the end"),
        ("a)", "s: found ')' at column 2, expected '&', '|' or the end"),
        ("a ? b", "s: found '?' at column 3, expected '&', '|' or the end"),
        ("a & b | sd", "s: unknown model 'sd' at column 9; did you mean 'sdxl'?"),
        ("+ other", "s: found '+' at column 1, expected a model, '+' and the name of a set, or '('"),
        ("+othre", "s: unknown set 'othre' at column 1; did you mean 'other'?"),
        ("a & other", "s: unknown model 'other' at column 5; a set is written '+other'"),
        ("+s | a", "s: refers to itself: s -> s"),
        ("(" * 200 + "a" + ")" * 200, "s: nested more than 100 deep at column 102"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(expression: str, text: str) -> None:
    assert complaint({"s": expression, "other": "b"}) == text


def test_a_ring_of_references_is_shown_as_a_whole() -> None:
    assert complaint({"x": "+y & a", "y": "b | +z", "z": "+x"}) == "z: refers to itself: x -> y -> z -> x"


def test_a_forward_reference_and_a_short_name_are_fine() -> None:
    made = program({"x": "+y & short", "y": "b | c"}, {"short": "a"})
    assert made.keep("a", {"b": 1, "c": 1, "d": 1}) == frozenset({"b"})


def test_an_expression_that_could_take_too_long_is_refused_when_it_is_read() -> None:
    clause = f"({' | '.join(MODELS)})"
    text = complaint({"s": " & ".join([clause] * 6)})
    assert f"at most {MOST_STEPS} are allowed" in text
    tower = {f"s{level}": f"+s{level - 1} | +s{level - 1}" if level else "a" for level in range(60)}
    assert "steps" in complaint(tower)


def test_parts_that_share_no_model_cost_what_they_cost_alone() -> None:
    many = [f"m{number}" for number in range(48)]
    pairs = zip(many[::2], many[1::2], strict=True)
    made = program({"s": " & ".join(f"({one} | {other})" for one, other in pairs)}, models=many)
    running = dict.fromkeys(many[2:], 1)
    kept = made.keep("m0", running)
    assert kept is not None
    assert kept == set(many[2::2])


def test_a_model_in_no_set_keeps_nobody() -> None:
    made = program({"s": "a & b"})
    assert made.keep("c", {"a": 1}) is None
    assert made.keep("unknown", {"a": 1}) is None


@pytest.mark.rule("C11.3.10", "C11.3.13")
def test_the_first_of_equal_combinations_wins_in_the_order_of_the_file() -> None:
    assert program({"z": "a & c", "a": "a & b"}).keep("a", {"b": 1, "c": 1}) == frozenset({"c"})
    assert program({"z": "a & (c | b)"}).keep("a", {"b": 1, "c": 1}) == frozenset({"c"})
    assert program({"z": "+later | a & b", "later": "a & c"}).keep("a", {"b": 1, "c": 1}) == frozenset({"c"})


LEAVES = st.sampled_from(MODELS)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' & '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' | '.join(parts)})"),
    ),
    max_leaves=9,
)


def expand(text: str) -> list[frozenset[str]]:
    """All combinations, in order: a reading of the definition, without any care for cost."""

    def expr(position: int) -> tuple[list[frozenset[str]], int]:
        found, position = term(position)
        while position < len(text) and text[position] == "|":
            more, position = term(position + 1)
            found = [*found, *more]
        return found, position

    def term(position: int) -> tuple[list[frozenset[str]], int]:
        found, position = atom(position)
        while position < len(text) and text[position] == "&":
            more, position = atom(position + 1)
            found = [one | other for one, other in itertools.product(found, more)]
        return found, position

    def atom(position: int) -> tuple[list[frozenset[str]], int]:
        if text[position] == "(":
            found, position = expr(position + 1)
            return found, position + 1
        return [frozenset(text[position])], position + 1

    text = text.replace(" ", "")
    return expr(0)[0]


@pytest.mark.rule("C11.3.8", "C11.3.12", "C11.3.13")
@settings(max_examples=600, derandomize=True, deadline=None)
@given(
    st.lists(EXPRESSIONS, min_size=1, max_size=3),
    LEAVES,
    st.dictionaries(LEAVES, st.integers(1, 3), max_size=6),
)
def test_the_choice_is_the_cheapest_of_all_combinations(texts: list[str], target: str, costs: dict[str, int]) -> None:
    costs.pop(target, None)
    made, problems = compile_sets({f"s{number}": text for number, text in enumerate(texts)}, {}, MODELS)
    if problems:
        SEEN["too large"] += 1
        return
    kept = made.keep(target, costs)
    combinations = [frozenset(found & costs.keys()) for text in texts for found in expand(text) if target in found]
    if not combinations:
        SEEN["in no set"] += 1
        assert kept is None
        return
    assert kept is not None

    def weight(found: frozenset[str]) -> int:
        return sum(costs[model] for model in found)

    best = max(weight(found) for found in combinations)
    assert weight(kept) == best
    equals = [found for found in combinations if weight(found) == best]
    SEEN["several equal" if len(set(equals)) > 1 else "one best"] += 1
    assert kept == equals[0]


def test_the_generator_made_every_kind() -> None:
    print(dict(SEEN))
    assert SEEN["in no set"]
    assert SEEN["several equal"]
    assert SEEN["one best"]
