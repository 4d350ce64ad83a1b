"""YAML into trees, by the parser in C and by the one in Python: the same, or documented."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import Problems
from config.load import DEEPEST, ENGINES, ListNode, Loader, MapNode, Node
from config.values import plain

FAST, SLOW = ENGINES[:1], ENGINES[1:]
FILE = Path("f.yaml")


def read(text: str, engines: Any = ENGINES) -> tuple[MapNode | None, list[str]]:
    problems = Problems()
    tree = Loader(problems, engines).parse(text, FILE)
    return tree, [str(problem).removeprefix("f.yaml:") for problem in problems.all()]


def good(text: str, engines: Any = ENGINES) -> MapNode:
    tree, said = read(text, engines)
    assert tree is not None, said
    assert not said
    return tree


def refused(text: str, engines: Any = ENGINES) -> str:
    tree, said = read(text, engines)
    assert tree is None
    (line,) = said
    return line


both = pytest.mark.parametrize("engines", [FAST, SLOW], ids=["C", "Python"])


# ------------------------------------------------------------------ the rules, with either parser


@both
def test_scalars_mean_what_the_core_schema_says(engines: Any) -> None:
    text = "[017, 12:30, on, 2001-01-01, 1e5, 0x1F, 0o17, .inf, -.INF, ~, '', '5', \"5\", True, nO, +1, -.5, 1_000]"
    expected = [17, "12:30", "on", "2001-01-01", 1e5, 31, 15, math.inf, -math.inf, None, "", "5", "5", True, "nO", 1]
    assert plain(good(f"a: {text}", engines)) == {"a": [*expected, -0.5, "1_000"]}
    assert plain(good("a: !!str 5\nb: ! 5\nc: !!str\nd: !!int 5\n", engines)) == {"a": "5", "b": "5", "c": "", "d": 5}


@both
def test_every_key_and_value_knows_its_place(engines: Any) -> None:
    tree = good("# \u00e9\U0001f600\na:\n  b\u00e9\U0001f600: [x, {c: 1}]\n  'd': |\n    text\n", engines)
    found: list[tuple[str, int, int]] = []

    def collect(node: Node) -> None:
        found.append((node.path, node.at.line, node.at.column))
        match node:
            case MapNode():
                for key, entry in node.entries.items():
                    found.append((f"key {key}", node.key_at[key].line, node.key_at[key].column))
                    collect(entry)
            case ListNode():
                for item in node.items:
                    collect(item)

    collect(tree)
    name = "b\u00e9\U0001f600"
    assert found == [
        ("", 2, 1),
        ("key a", 2, 1),
        ("a", 3, 3),
        (f"key {name}", 3, 3),
        (f"a.{name}", 3, 8),
        (f"a.{name}[0]", 3, 9),
        (f"a.{name}[1]", 3, 12),
        ("key c", 3, 13),
        (f"a.{name}[1].c", 3, 16),
        ("key d", 4, 3),
        ("a.d", 4, 8),
    ]


@both
@pytest.mark.parametrize("text", ["a:", "a:\n", "a:   # c\n", "{a: }", "{a:\n}", "{a}", "? a\n", "{a: , b: 1}"])
def test_an_empty_value_is_where_its_key_is(text: str, engines: Any) -> None:
    tree = good(text, engines)
    assert tree.entries["a"].at == tree.key_at["a"]


@both
def test_an_anchor_may_be_defined_again_and_what_it_stands_for_is_copied(engines: Any) -> None:
    tree = good("a: &n {x: [1]}\nb: *n\nc: &n 2\nd: *n\n*n : 3\n", engines)
    assert plain(tree) == {"a": {"x": [1]}, "b": {"x": [1]}, "c": 2, "d": 2, "2": 3}
    copied = tree.entries["b"]
    assert isinstance(copied, MapNode)
    assert (copied.path, copied.entries["x"].path, copied.at.line) == ("b", "b.x", 1)
    assert copied.entries["x"] is not tree.entries["a"]


@both
def test_merge_keys_add_what_is_not_there(engines: Any) -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nl: &l [*y]\n"
    tree = good(text + "z: {<<: [*x, *y], a: 3, <<: {d: 4}}\nw: {'<<': 5}\nv: {<<: *l}\n", engines)
    found = plain(tree)
    assert (found["z"], found["w"], found["v"]) == ({"a": 3, "b": 1, "c": 2, "d": 4}, {"<<": 5}, {"b": 2, "c": 2})
    z = tree.entries["z"]
    assert isinstance(z, MapNode)
    assert {key: entry.path for key, entry in z.entries.items()} == {key: f"z.{key}" for key in "abcd"}
    assert (z.key_at["c"].line, z.key_at["c"].column) == (2, 14)
    assert read("a: {<<: 5}\n", engines)[1] == ["1:9: error: a: '<<' takes a mapping or a list of mappings"]


@both
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1: error: a: stands here twice (first in line 1)"),
        ("apiKeys: {k: 1, k: 2}\n", "1:17: error: apiKeys: stands here twice (first in line 1)"),
        ("b: {[x]: 1, a: 2}\n", "1:5: error: b: a key must be plain text"),
        ('a: "\\0"\n', "1:4: error: a: has a NUL or half a surrogate pair in it"),
    ],
)
def test_what_is_wrong_in_one_place_leaves_the_rest(text: str, line: str, engines: Any) -> None:
    tree, said = read(text, engines)
    assert tree is not None
    assert said == [line]


@both
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: *hush\n", "1:4: error: not YAML: an alias that is not defined before (quote text that starts with '*')"),
        ("a: &a [1, *a]\n", "1:11: error: a[1]: aliases, nesting or sheer number make this too large to expand"),
        ("a: &a {b: {<<: *a}}\n", "1:16: error: a.b: aliases, nesting or sheer number make this too large to expand"),
        ("a:\n  - x\n  b: 1\n", "3:3: error: not YAML: expected <block end>, but found '?'"),
        ("[a]\n", "1:1: error: the top level must be a mapping of keys to values"),
        ("a: \x07\n", "1:4: error: not YAML: the character U+0007 is not allowed"),
        ("a: \ud800\n", "1:4: error: not YAML: the character U+D800 is not allowed"),
    ],
)
def test_what_makes_the_whole_unusable_is_one_problem(text: str, line: str, engines: Any) -> None:
    # The words are those of the parser in Python when it is asked, too.
    assert refused(text).startswith(line)
    assert refused(text, engines).partition(" error")[0] == line.partition(" error")[0]


@both
def test_nesting_is_bounded(engines: Any) -> None:
    def nested(levels: int) -> str:
        return "a: " + "[" * levels + "]" * levels

    assert good(nested(DEEPEST - 1), engines)
    assert "nested deeper than" in refused(nested(DEEPEST + 1), engines)
    half = f"a: &a {'[' * 60}{']' * 60}\nb: {'[' * 60}*a{']' * 60}\n"
    assert "nested deeper than" in refused(half, engines)


@both
def test_only_the_first_document_counts(engines: Any) -> None:
    assert plain(good("%YAML 1.2\n---\na: 1\n...\n---\n*nobody\n", engines)) == {"a": 1}
    for text in ("", "# nothing\n", "---\n", "~", "{}", "---\n...\n"):
        assert plain(good(text, engines)) == {}


@both
def test_escapes(engines: Any) -> None:
    text = r'a: "\/ \x41 \u00e9 \U0001F600 \" \t\N"' + "\n"
    assert plain(good(text, engines)) == {"a": '/ A \u00e9 \U0001f600 " \t\x85'}


@both
def test_variables_may_stand_where_braces_may_not(engines: Any) -> None:
    tree = good("a: [${env.X}, x${env.Y}y]\n${env.Z}: ${env.X}\n", engines)
    assert plain(tree) == {"a": ["${env.X}", "x${env.Y}y"], "${env.Z}": "${env.X}"}
    assert tree.entries["${env.Z}"].at.column == 11


# ------------------------------------------------------------------ where the parsers differ

ONLY_FAST = ["a:\tb", "a: [http://h/?x]", "a: |# c\n  x", "a: [1,\t2]"]
ONLY_SLOW = ['a: "\\ud83d\\ude00"']


@pytest.mark.parametrize("text", ONLY_FAST + ONLY_SLOW)
def test_what_only_one_parser_reads_is_read(text: str) -> None:
    assert good(text) == good(text, FAST if text in ONLY_FAST else SLOW)


def test_nothing_is_left_of_an_attempt_that_failed() -> None:
    tree, said = read('a: 1\na: 2\nb: "\\ud83d\\ude00"\n')
    assert said == ["2:1: error: a: stands here twice (first in line 1)"]
    assert tree is not None
    assert plain(tree) == {"a": 1, "b": "\U0001f600"}


WORDS = st.sampled_from(
    ["models", "a", "b", "x y", ":", ": ", " : ", "-", "- ", "{", "}", "[", "]", ",", ", ", "\n", "\n  ", "\n    ",
     " ", "&x ", "*x", "*x : ", "<<: ", "'", '"', "'b'", '"c"', "|", "|-\n  ", ">\n  ", "? ", "---\n", "...\n", " # c",
     "~", "null", "1", "0x1", "1.5", "true", "\\", "\\n", "\\x41", "\\/", "é", "\U0001f600", "\u2028", "\u0085", "\r\n",
     "${env.X}", "http://h:1/y#f", "::", "-a", ":a", "@", "`", "=", "a: b\n", "- a\n- b\n", "k: {a: 1, b: [x, 'y']}\n"]
)  # fmt: skip
ODD_WORDS = st.one_of(
    WORDS, st.sampled_from(["\t", "!", "!!str ", "?", "%", "|#", "%YAML 1.2\n---\n", "\\ud83d\\ude00"])
)


def texts(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda begin, parts: f"{begin}{''.join(parts)}\n",
        st.sampled_from(["", "k: ", "k:\n  "]),
        st.lists(words, max_size=16),
    )


@settings(max_examples=1500, derandomize=True, deadline=None)
@given(texts(WORDS))
def test_both_parsers_give_the_same_tree_or_both_refuse(text: str) -> None:
    assert read(text, FAST)[0] == read(text, SLOW)[0]


@settings(max_examples=800, derandomize=True, deadline=None)
@given(texts(ODD_WORDS))
def test_what_both_parsers_read_is_the_same_and_what_one_of_them_reads_is_read(text: str) -> None:
    fast, slow, chosen = read(text, FAST), read(text, SLOW), read(text)
    if fast[0] is not None and slow[0] is not None:
        assert fast == slow
    if fast[0] is not None or slow[0] is not None:
        assert chosen == (fast if fast[0] is not None else slow)
    else:
        assert chosen[0] is None


# To both parsers, and to llama-swap's, these three end a line, as in YAML 1.1.
TEXT = st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=["Cs"])
KEYS = st.text(TEXT, max_size=40)
"""YAML allows keys of 1,024 characters, escapes included."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans(), st.sampled_from([None, 2]))
def test_json_is_yaml(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    tree, said = read(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    nul = [line for line in said if "has a NUL" in line]
    assert said == nul or "is not allowed" in said[0]
    if not said:
        assert tree is not None
        assert plain(tree) == value
