"""The configuration language: what a file means, and what is said about a bad one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import keys
from config.check import Loaded, load, load_text
from config.errors import Severity
from config.types import Group, Settings


def good(text: str) -> Settings:
    loaded = load_text(text)
    assert loaded.settings is not None, loaded.problems
    return loaded.settings


def said(loaded: Loaded) -> list[str]:
    return [f"{p.line}:{p.column} {p.severity} {p.where}: {p.text}" for p in loaded.problems]


BASE = "models:\n  a:\n    cmd: 'sh ${PORT}'\n"


def test_an_empty_file_is_a_valid_configuration_without_models() -> None:
    for text in ("", "# nothing\n", "~", "{}"):
        assert good(text) == Settings()


def test_ports_go_by_the_byte_order_of_ids_to_the_models_that_ask() -> None:
    found = good("startPort: 7000\nmodels:\n  b: {cmd: 'sh ${PORT}'}\n  a: {cmd: 'sh ${PORT}'}\n"
                 "  B: {cmd: sh, proxy: 'http://127.0.0.1:9'}\n")  # fmt: skip
    assert {name: model.proxy for name, model in found.models.items()} == {
        "b": "http://localhost:7001",
        "a": "http://localhost:7000",
        "B": "http://127.0.0.1:9",
    }
    assert list(found.models) == ["b", "a", "B"], "file order"
    assert found.models["a"].cmd == ("sh", "7000")


def test_placeholders_are_replaced_where_they_mean_something() -> None:
    model = good("""
models:
  org/m:
    cmd: sh --name ${MODEL_ID} --port ${PORT} $HOME ${a.b} ${x:-y}
    cmdStop: stop ${MODEL_ID} ${PID}
    proxy: http://127.0.0.1:${PORT}/base/
    env: ['P=${PORT}']
    useModelName: up-${MODEL_ID}
""").models["org/m"]
    assert model.cmd == ("sh", "--name", "org/m", "--port", "5800", "$HOME", "${a.b}", "${x:-y}")
    assert model.cmd_stop == ("stop", "org/m", "${PID}")
    assert model.proxy == "http://127.0.0.1:5800/base"
    assert (model.env, model.use_model_name) == ((("P", "5800"),), "up-org/m")


def test_times_fall_back_from_model_to_top_level_to_built_in() -> None:
    found = good("globalTTL: 9\nunloadTimeout: 4\nhealthCheckTimeout: 20\nmodels:\n"
                 "  a: {cmd: 'sh ${PORT}'}\n"
                 "  b: {cmd: 'sh ${PORT}', ttl: 0, unloadTimeout: 2, healthCheckTimeout: 3}\n")  # fmt: skip
    a, b = found.models["a"], found.models["b"]
    assert (a.ttl, a.unload_timeout, a.health_check_timeout) == (9, 4, 20)
    assert (b.ttl, b.unload_timeout, b.health_check_timeout) == (0, 2, 3)
    c = good(BASE).models["a"]
    assert (c.ttl, c.unload_timeout, c.health_check_timeout, c.queue_timeout) == (0, 10, 120, 1800)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("none", None), ("' none '", None), ("/ready?x=1", "/ready?x=1"), ("''", "/health")],
)
def test_the_check_endpoint(written: str, meant: str | None) -> None:
    assert good(BASE + f"    checkEndpoint: {written}\n").models["a"].check_endpoint == meant


def test_scalars_keep_their_text_where_text_is_wanted() -> None:
    found = good("apiKeys: [017, 1e5, 12:30, 0x1F]\nmodels:\n  1: {cmd: 'sh ${PORT}', name: on, aliases: [1.0, yes]}\n")
    assert found.api_keys == ("017", "1e5", "12:30", "0x1F")
    assert found.models["1"].name == "on"
    assert found.models["1"].aliases == ("1.0", "yes")


@pytest.mark.parametrize("word", ["true", "yes", "on", "Y", "'yes'", "TRUE"])
def test_truth_is_read_in_its_old_and_new_spellings(word: str) -> None:
    assert good(BASE + f"    unlisted: {word}\n").models["a"].unlisted is True


def test_anchors_merge_keys_and_json_are_yaml() -> None:
    found = good("%YAML 1.2\n---\nx-defaults: &d {ttl: 5, cmd: 'sh ${PORT}'}\nmodels:\n"
                 "  a: {<<: *d, ttl: 6}\n  b: {<<: [*d, {name: n}]}\n")  # fmt: skip
    assert (found.models["a"].ttl, found.models["b"].ttl, found.models["b"].name) == (6, 5, "n")
    assert good('{"models": {"a": {"cmd": "sh \\/x ${PORT}"}}}').models["a"].cmd == ("sh", "/x", "5800")


def test_groups_and_the_gateway_section() -> None:
    found = good(BASE + "groups:\n  g: {swap: no, members: [a]}\n  h: {exclusive: false, persistent: true}\n"
                 "gateway: {bodyLimit: 1.5MiB, keepAliveAfter: 3, clientStallTimeout: 9}\n"
                 "logLevel: WARN\n")  # fmt: skip
    assert found.groups == (Group("g", swap=False, members=("a",)), Group("h", exclusive=False, persistent=True))
    assert (found.gateway.body_limit, found.gateway.keep_alive_after, found.log_level) == (1572864, 3, "warning")


MISTAKES = """\
startPort: 12:30
modles: {}
logLevel: loud
healthCheckTimeout: 3
apiKeys: [~, "hush hush", ""]
hooks: {}
models:
  a: {cmd: 'sh ${PORT}', ttl: soon, aliases: [x], env: [FOO]}
  b: {name: q}
  c: {cmd: no-such-program-here}
  d: {cmd: 'sh ${PORTT} ${PORT}', concurencyLimit: 4, macros: {}, proxy: 'ftp://x'}
  e: {cmd: 'sh ${PORT}', aliases: [x, a], proxy: 'http://h:99999'}
  a: {cmd: z}
  f: nothing
groups:
  g: {members: [a, nobody, a], swop: true}
  (default): {}
"""
EXPECTED = [
    "1:12 error startPort: found '12:30', expected a port, 1 to 65535",
    "2:1 warning modles: there is no such key; did you mean 'models'?",
    "3:11 warning logLevel: found 'loud', expected one of debug, info, warn, warning, error",
    "4:1 warning healthCheckTimeout: is raised to 15 s; a model's own healthCheckTimeout may be shorter",
    "5:11 error apiKeys[0]: an empty entry, expected keys",
    "5:14 error apiKeys[1]: a key must not contain a space",
    "5:27 error apiKeys[2]: an empty key would let everybody in",
    "6:1 notice hooks: has no effect in this version",
    "8:31 error models.a.ttl: found 'soon', expected a whole number of seconds, -1 or more",
    "8:57 error models.a.env[0]: expected NAME=value",
    "9:6 error models.b: has no 'cmd', the command that starts its server",
    "10:6 error models.c.proxy: needs ${PORT}, which 'cmd' does not use; give 'proxy' a URL of its own",
    "10:12 warning models.c.cmd: there is no program 'no-such-program-here' here",
    "11:12 error models.d.cmd: ${PORTT} means nothing here; did you mean ${PORT}?",
    "11:35 warning models.d.concurencyLimit: there is no such key; did you mean 'concurrencyLimit'?",
    "11:74 error models.d.proxy: found 'ftp://x', expected a URL such as http://127.0.0.1:5800",
    "12:36 error models.e.aliases[0]: alias 'x' is used twice (also by model 'a' in line 8)",
    "12:39 warning models.e.aliases[1]: alias 'a' is the id of a model, which wins",
    "12:50 error models.e.proxy: found 'http://h:99999', which is not a URL (Port out of range 0-65535)",
    "13:3 error models.a: stands here twice (first in line 8)",
    "14:6 error models.f: expected a mapping with at least 'cmd'",
    "16:20 error groups.g.members[1]: there is no model 'nobody'",
    "16:28 error groups.g.members[2]: 'a' is already in group 'g'",
    "16:32 warning groups.g.swop: there is no such key; did you mean 'swap'?",
    "17:14 error groups.(default): this name belongs to the group of models that are in no other",
]


def test_all_mistakes_are_reported_at_once_each_with_its_place() -> None:
    loaded = load_text(MISTAKES)
    assert loaded.settings is None
    assert said(loaded) == EXPECTED


def test_a_problem_is_one_line_with_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: 5\n")
    (problem,) = load(file).problems
    assert str(problem) == f"{file}:1:9: error: models: found '5', expected a mapping"


def test_secrets_are_never_repeated() -> None:
    loaded = load_text("apiKeys: [{k: hush}, 'hush hush']\nmodels:\n  a: {cmd: 'sh ${PORT}', env: [[hush], 'hush']}\n")
    assert loaded.settings is None
    assert "hush" not in "".join(said(loaded))


@pytest.mark.parametrize(
    "text",
    [
        "apiKeys: {hush: 1, hush: 2}",
        "apiKeys: [*hush]",
        "apiKeys: hush",
        "models: {a: {cmd: 'sh ${PORT}', env: [{hush: 1, hush: 2}]}}",
        "models: {a: {cmd: 'sh ${PORT}', env: {K: hush, K: hush}}}",
        "models: {a: {cmd: 'sh ${PORT}', proxy: 'http://user:hush@host:99999'}}",
        "models: {a: {cmd: 'sh ${PORT}', proxy: 'http://user:hush@[host'}}",
    ],
)
def test_secrets_in_the_wrong_place_are_not_repeated_either(text: str) -> None:
    loaded = load_text(text)
    assert loaded.settings is None
    assert "hush" not in "".join(said(loaded))


def test_placeholders_in_comment_lines_of_a_command_mean_nothing() -> None:
    comment = "models:\n  a:\n    cmd: |\n      sh ${PORT}\n      # --old ${OLD} ${env.OLD}\n"
    assert good(comment).models["a"].cmd == ("sh", "5800")
    loaded = load_text("models:\n  a:\n    cmd: |\n      sh\n      # ${PORT}\n")
    assert [problem.where for problem in loaded.problems] == ["models.a.proxy"]


def test_quoted_numbers_and_truth_values_are_named_as_such() -> None:
    loaded = load_text(BASE + "    ttl: '30'\n    unlisted: 'true'\n")
    assert said(loaded) == [
        "4:10 error models.a.ttl: found the quoted text '30', expected a whole number of seconds, -1 or more",
        "5:15 error models.a.unlisted: found the quoted text 'true', expected true or false",
    ]


@pytest.mark.parametrize(("written", "meant"), [("0", 10), ("-1", 10), ("~", 10), ("3", 3), ("3.9", 3)])
def test_a_limit_of_zero_or_less_is_the_built_in_one(written: str, meant: int) -> None:
    assert good(BASE + f"    concurrencyLimit: {written}\n").models["a"].concurrency_limit == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [("~", 64 * 2**20), ("1", 1), ("10KB", 10_000), ("0.5KiB", 512), ("0", None), ("9" * 400, None), ("1.5x", None)],
)
def test_sizes(written: str, meant: int | None) -> None:
    loaded = load_text(f"gateway: {{bodyLimit: {written}}}")
    assert (loaded.settings.gateway.body_limit if loaded.settings else None) == meant


@pytest.mark.parametrize(
    "line",
    ["proxy: 'http://h h:1'", "proxy: 'http://h/a b'", "proxy: ' http://h'", "proxy: ''", "proxy: 'h:80'",
     "proxy: 'http://:80'", "proxy: 'http://h:0'", "checkEndpoint: /a b", 'checkEndpoint: "/a\\nb"']
)  # fmt: skip
def test_addresses_that_cannot_be_asked_are_errors(line: str) -> None:
    (problem,) = load_text(BASE + f"    {line}\n").problems
    assert (problem.severity, problem.line, problem.where) == (Severity.ERROR, 4, f"models.a.{line.split(':')[0]}")


def test_an_empty_alias_entry_does_not_move_the_places_of_the_others() -> None:
    loaded = load_text(BASE + "    aliases:\n    - ~\n    - x\n    - x\n")
    assert said(loaded) == [
        "5:7 error models.a.aliases[0]: an empty entry, expected names",
        "7:7 error models.a.aliases[2]: alias 'x' is used twice (also by model 'a' in line 6)",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("models: {a: [", 1, "not YAML"),
        ("- a\n", 1, "the top level must be a mapping"),
        ("a: b: c\n", 1, "not YAML"),
        ("models:\n\ta: 1\n", 2, "not YAML"),
        ("? [a]\n: b\n", 1, "a key must be plain text"),
        ("a: *nobody\n", 1, "not YAML"),
        ("a: &a [*a]\n", 1, "too large to expand"),
        ("a: &a {<<: *a}\n", 1, "too large to expand"),
        ("a: 1\nb: [" + "[" * 3000, 2, "nested deeper than 100 levels"),
        ("a: 1\nb: x\x07y\n", 2, "the character U+0007 is not allowed"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "an escape names no character"),
        ('models: {"\\ud800": {cmd: sh}}\n', 1, "half a surrogate pair"),
        ('models: {a: {cmd: "sh \\0"}}\n', 1, "has a NUL"),
    ],
)
def test_what_is_not_a_configuration_is_said_in_one_line(text: str, line: int, words: str) -> None:
    loaded = load_text(text)
    assert loaded.settings is None
    assert any(problem.line == line and words in problem.text for problem in loaded.problems), said(loaded)
    assert all(len(str(problem).splitlines()) == 1 for problem in loaded.problems)


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    merges = ["a0: &a0 {}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    loaded = load_text("\n".join(lines))
    assert loaded.settings is None
    assert any("too large to expand" in problem.text for problem in loaded.problems)
    # What was merged stands there once, so that merging it again does not make it more.
    assert load_text("\n".join(merges)).settings is not None


def test_an_anchor_may_be_defined_again_and_escaped_surrogate_pairs_are_one_character() -> None:
    found = good("x: &n one\ny: &n two\nmodels:\n  a: {cmd: 'sh ${PORT}', name: *n, description: \"\\ud83d\\ude00\"}\n")
    assert (found.models["a"].name, found.models["a"].description) == ("two", "\N{GRINNING FACE}")


def test_an_error_after_very_many_warnings_still_refuses_the_file() -> None:
    loaded = load_text("".join(f"unknown{n}: 1\n" for n in range(3000)) + "startPort: x\n")
    assert loaded.settings is None
    assert len(loaded.problems) == 3001


def test_a_problem_with_a_line_end_or_an_escape_sequence_in_an_id_is_one_printable_line() -> None:
    (problem,) = load_text('models: {"a\\nb\\e[31m": {ttl: 1}}').problems
    assert (
        str(problem)
        == r"config.yaml:1:24: error: models.a\nb\x1b[31m: has no 'cmd', the command that starts its server"
    )


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(load(tmp_path / "none.yaml").problems[0])
    assert "cannot be read: Is a directory" in str(load(tmp_path).problems[0])
    (tmp_path / "latin").write_bytes(b"a: 1\nname: \xe4\n")
    assert str(load(tmp_path / "latin").problems[0]).endswith("latin:2:7: error: is not UTF-8 text")


def test_ports_beyond_the_last_one_are_errors() -> None:
    loaded = load_text("startPort: 65535\nmodels:\n  a: {cmd: 'sh ${PORT}'}\n  b: {cmd: 'sh ${PORT}'}\n")
    first = next(problem for problem in loaded.problems if problem.severity is Severity.ERROR)
    assert first.text.startswith("its port would be 65536")


def test_a_fixed_port_that_another_model_is_given_is_a_warning() -> None:
    loaded = load_text(BASE + "  b: {cmd: sh, proxy: 'http://localhost:5800'}\n")
    assert said(loaded) == ["4:23 warning models.b.proxy: port 5800 is also what ${PORT} of model 'a' becomes"]
    loaded = load_text(BASE + "  b: {cmd: 'sh ${PORT}', proxy: 'http://127.0.0.1:5800'}\n")
    assert [problem.where for problem in loaded.problems] == ["models.b.proxy"]
    assert not load_text(BASE + "  b: {cmd: sh, proxy: 'http://elsewhere:5800'}\n").problems


WORDS = st.sampled_from(
    ["models", "a", "cmd", "${PORT}", "ttl", "groups", "members", ":", "-", "{", "}", "[", "]", "\n", "  ", "&x", "*x",
     "<<", "apiKeys", "1e999", "~", "'", '"', "!!int", "|", ">", "?", "%YAML 1.3", "---", "\t", ".inf", "-.nan", "\x07",
     "\\ud800", "\\UFFFFFFFF", "\\0"]
)  # fmt: skip


@settings(max_examples=800, derandomize=True, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=30).map("".join), st.lists(WORDS).map(" ".join)))
def test_no_text_raises(text: str) -> None:
    loaded = load_text(text)
    assert loaded.settings is not None or loaded.problems


LEAVES = st.one_of(
    st.sampled_from(["sh ${PORT}", "${MODEL_ID}", "${x}", "${env.X}", "http://h:70000", "http://[", "none", "-1", "~",
                     "9" * 5000, "64MiB", "yes", "\ud800", "\0", "a", "b"]),
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5),
)  # fmt: skip
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "cmd"]), LEAVES))
ENTRIES = {
    "models": st.dictionaries(
        st.sampled_from(["a", "b", "", "\ud800", "1"]),
        st.dictionaries(st.sampled_from([*keys.MODEL, "macros"]), VALUES),
    ),
    "groups": st.dictionaries(
        st.sampled_from(["g", "(default)"]), st.dictionaries(st.sampled_from([*keys.GROUP]), VALUES)
    ),
    "gateway": st.dictionaries(st.sampled_from([*keys.GATEWAY]), VALUES),
}


@settings(max_examples=800, derandomize=True, deadline=None)
@given(st.fixed_dictionaries({}, optional={key: st.one_of(ENTRIES.get(key, VALUES), VALUES) for key in keys.TOP}))
def test_no_value_anywhere_raises_and_every_problem_is_one_line(tree: dict[str, Any]) -> None:
    loaded = load_text(json.dumps(tree))
    failed = any(problem.severity is Severity.ERROR for problem in loaded.problems)
    assert (loaded.settings is None) == failed
    for problem in loaded.problems:
        assert str(problem).isprintable()
        assert (problem.line, problem.column > 0) == (1, True)
