"""Macros and the environment (``tests/compat/config.md`` §4): one test for each rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.check import Loaded, load_text
from config.types import Settings

ENDING = "\n    proxy: http://127.0.0.1:1\n"


def good(text: str) -> Settings:
    loaded = load_text(text)
    assert loaded.settings is not None, said(loaded)
    return loaded.settings


def said(loaded: Loaded) -> list[str]:
    return [f"{problem.line}:{problem.column} {problem.where}: {problem.text}" for problem in loaded.problems]


def cmd(text: str, model: str = "a") -> tuple[str, ...]:
    return good(text).models[model].cmd


def test_a_macro_stands_for_its_value_in_every_value_of_a_model() -> None:
    found = good(
        "macros: {dir: /models, extra: '--fast -x 1'}\n"
        "models:\n"
        "  a:\n"
        "    cmd: sh ${dir}/a.gguf ${extra}\n"
        "    env: ['HOME=${dir}']\n"
        "    description: in ${dir}\n"
        "    proxy: http://127.0.0.1:1\n"
    ).models["a"]
    assert found.cmd == ("sh", "/models/a.gguf", "--fast", "-x", "1")
    assert found.env == (("HOME", "/models"),)
    assert found.description == "in /models"


def test_a_value_that_is_nothing_but_a_macro_takes_over_its_type() -> None:
    found = good(
        "macros: {seconds: 90, hide: true, limit: 3}\n"
        "models:\n  a: {cmd: sh, proxy: 'http://127.0.0.1:1', ttl: '${seconds}', unlisted: '${hide}',"
        " concurrencyLimit: '${limit}'}\n"
    ).models["a"]
    assert (found.ttl, found.unlisted, found.concurrency_limit) == (90.0, True, 3)
    loaded = load_text("macros: {seconds: '90'}\nmodels: {a: {cmd: 'sh ${PORT}', ttl: '${seconds}'}}\n")
    assert said(loaded) == [
        "2:38 models.a.ttl: found the quoted text '90', expected a whole number of seconds, -1 or more"
    ]


def test_macros_hold_in_sections_that_are_no_models_too() -> None:
    found = good("macros: {level: debug, key: s3cret}\nlogLevel: ${level}\napiKeys: ['${key}']\n")
    assert (found.log_level, found.api_keys) == ("debug", ("s3cret",))


def test_a_macro_may_use_those_declared_before_it_and_no_others() -> None:
    text = "macros: {one: 1, two: '${one}2'}\nmodels: {a: {cmd: 'sh ${two} ${PORT}'}}\n"
    assert cmd(text) == ("sh", "12", "5800")
    loaded = load_text("macros: {two: '${one}2', one: 1}\nmodels: {a: {cmd: 'sh ${two} ${PORT}'}}\n")
    assert said(loaded) == ["2:19 models.a.cmd: ${one} means nothing here: it is declared elsewhere or later"]


def test_a_models_own_macro_takes_the_place_of_one_of_all() -> None:
    text = (
        "macros: {quant: q4, file: 'm-${quant}.gguf'}\n"
        "models:\n"
        "  a: {cmd: 'sh ${file} ${PORT}', macros: {quant: q8}}\n"
        "  b: {cmd: 'sh ${file} ${PORT}'}\n"
    )
    assert cmd(text) == ("sh", "m-q8.gguf", "5800")
    assert cmd(text, "b") == ("sh", "m-q4.gguf", "5801")
    loaded = load_text("models:\n  a: {cmd: 'sh ${x} ${PORT}', macros: {x: 1}}\n  b: {cmd: 'sh ${x} ${PORT}'}\n")
    assert said(loaded) == ["3:12 models.b.cmd: ${x} means nothing here: it is declared elsewhere or later"]


def test_the_id_of_the_model_is_there_for_macros_too() -> None:
    assert cmd("macros: {file: '/m/${MODEL_ID}.gguf'}\nmodels: {a: {cmd: 'sh ${file} ${PORT}'}}\n")[1] == "/m/a.gguf"


def test_the_port_may_come_from_a_macro() -> None:
    text = "macros: {server: 'sh --port ${PORT}'}\nmodels: {a: {cmd: '${server}'}}\n"
    found = good(text).models["a"]
    assert found.cmd == ("sh", "--port", "5800")
    assert found.proxy == "http://localhost:5800"


def test_anchored_content_expands_for_each_model_that_uses_it() -> None:
    text = (
        "defs: &d {cmd: 'sh ${file} ${PORT}'}\n"
        "models:\n  a: {<<: *d, macros: {file: x}}\n  b: {<<: *d, macros: {file: y}}\n"
    )
    assert (cmd(text)[1], cmd(text, "b")[1]) == ("x", "y")


def test_an_escaped_placeholder_is_meant_literally() -> None:
    text = "macros: {x: 1, y: 'a$${x}'}\nmodels: {a: {cmd: 'sh $${x} ${y} $${PORT} ${PORT}'}}\n"
    assert cmd(text) == ("sh", "${x}", "a${x}", "${PORT}", "5800")
    assert good("apiKeys: ['a$${b}']\n").api_keys == ("a${b}",)


def test_what_only_looks_like_a_placeholder_stays() -> None:
    assert cmd("models: {a: {cmd: 'sh $abc ${abc:-x} ${a.b} ${PORT}'}}\n") == (
        "sh",
        "$abc",
        "${abc:-x}",
        "${a.b}",
        "5800",
    )


def test_comment_lines_of_a_command_are_gone_before_macros_expand() -> None:
    text = "macros: {x: 'one\n  # two'}\nmodels:\n  a:\n    cmd: |\n      sh ${PORT}\n      # ${nothing}\n"
    assert cmd(text) == ("sh", "5800")


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("[x]", "1:9 macros: expected a mapping of names to values"),
        ("{a.b: 1}", "1:10 macros.a.b: the name of a macro has letters, digits, dashes and underscores only"),
        (f"{{{'n' * 64}: 1}}", f"1:10 macros.{'n' * 64}: the name of a macro has at most 63 characters"),
        ("{PORT: 1}", "1:10 macros.PORT: PORT is not to be declared: it stands for something already"),
        ("{x: [1]}", "1:10 macros.x: the value of a macro is text, a number or a truth value"),
        ("{x: ~}", "1:10 macros.x: the value of a macro is text, a number or a truth value"),
        ("{x: 'a ${x}'}", "1:10 macros.x: uses itself"),
    ],
)
def test_what_is_no_macro_is_refused(block: str, text: str) -> None:
    assert said(load_text(f"macros: {block}\n")) == [text]
    model = said(load_text(f"models: {{a: {{cmd: 'sh ${{PORT}}', macros: {block}}}}}\n"))
    assert [line.partition("macros")[2] for line in model] == [text.partition("macros")[2]]


def test_macros_that_nobody_uses_are_not_looked_into() -> None:
    assert good("macros: {x: '${nothing}'}\n").models == {}


def test_an_unknown_macro_is_named_with_a_suggestion() -> None:
    loaded = load_text("macros: {models-dir: /m}\nmodels: {a: {cmd: 'sh ${model-dir} ${PORT}'}}\nhooks: {x: '${y}'}\n")
    assert said(loaded) == [
        "2:19 models.a.cmd: ${model-dir} means nothing here; did you mean ${models-dir}?",
        "3:1 hooks: has no effect in this version",
        "3:9 hooks.x: there is no such key",
        "3:12 hooks.x: ${y} means nothing here",
    ]


def test_placeholders_under_keys_that_nobody_knows_mean_nothing() -> None:
    assert said(load_text("notes: {a: '${whatever}'}\nx-notes: {a: '${whatever}'}\n")) == [
        "1:1 notes: there is no such key"
    ]


def test_macros_that_grow_for_ever_end_with_an_error() -> None:
    macros = ", ".join(
        f"m{n}: '{'${m' + str(n - 1) + '}' if n else 'x'}{'${m' + str(n - 1) + '}' if n else 'x'}'" for n in range(40)
    )
    loaded = load_text(f"macros: {{{macros}}}\nmodels: {{a: {{cmd: 'sh ${{m39}} ${{PORT}}'}}}}\n")
    assert any("macros make it longer than 1048576 characters" in line for line in said(loaded))


def test_the_environment_is_filled_in_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SY_DIR", "/models")
    monkeypatch.setenv("SY_TTL", "30")
    monkeypatch.setenv("SY_NAME", "a")
    monkeypatch.setenv("SY_TWICE", "${env.SY_DIR}/x")
    found = good(
        "macros: {dir: '${env.SY_DIR}'}\n"
        "models: {'${env.SY_NAME}': {cmd: 'sh ${dir} ${env.SY_TWICE} ${PORT}', ttl: ${env.SY_TTL}}}\n"
    ).models["a"]
    assert found.cmd == ("sh", "/models", "/models/x", "5800")
    assert found.ttl == 30.0


def test_a_variable_that_is_not_set_or_has_a_line_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SY_NONE", raising=False)
    monkeypatch.setenv("SY_LINES", "a\nb")
    assert said(load_text("logLevel: ${env.SY_NONE}\n")) == [
        "1:11 logLevel: the environment variable SY_NONE is not set"
    ]
    assert said(load_text("apiKeys: ['${env.SY_LINES}']\n"))[0] == (
        "1:11 apiKeys[0]: the environment variable SY_LINES has a line end in it"
    )


def test_an_empty_variable_is_no_key_that_lets_everybody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SY_EMPTY", "")
    assert load_text("apiKeys: [${env.SY_EMPTY}]\n").settings is None
    assert load_text("apiKeys: ['${env.SY_EMPTY}']\n").settings is None


def test_a_value_from_the_environment_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SY_SECRET", "hush-hush")
    loaded = load_text("macros: {s: '${env.SY_SECRET}'}\nstartPort: ${env.SY_SECRET}\nhealthCheckTimeout: ${s}\n")
    assert said(loaded) == [
        "2:12 startPort: found a value from the environment, expected a port, 1 to 65535",
        "3:21 healthCheckTimeout: found a value from the environment, expected a whole number of seconds, 0 or more",
    ]


def test_a_variable_that_comes_from_too_many_others_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        monkeypatch.setenv(f"SY_{number}", f"${{env.SY_{number + 1}}}")
    monkeypatch.setenv("SY_3", "end")
    assert said(load_text("models: {a: {cmd: 'sh ${env.SY_0} ${PORT}'}}\n")) == [
        "1:19 models.a.cmd: the environment variable SY_2 comes from too many others"
    ]


def test_a_variable_cannot_change_the_structure_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SY_ODD", "x: {y: [1]} # z")
    assert good("apiKeys: ['k']\nmodels: {a: {cmd: 'sh ${PORT}', name: ${env.SY_ODD}}}\n").models["a"].name == (
        "x: {y: [1]} # z"
    )


PIECES = st.sampled_from(["${a}", "${b}", "$${c}", "${env.SY_X}", "${", "}", "$", "${PORT}", "${MODEL_ID}", "x", " "])
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), TEXTS, max_size=3), TEXTS, TEXTS)
def test_expansion_ends_and_never_raises(macros: dict[str, str], command: str, name: str) -> None:
    listed = ", ".join(f"{key}: '{value}'" for key, value in macros.items())
    text = (
        f"macros: {{{listed}}}\nmodels: {{m: {{cmd: 'sh {command}', name: '{name}', proxy: 'http://127.0.0.1:1'}}}}\n"
    )
    first, second = load_text(text), load_text(text)
    assert (first.settings, first.problems) == (second.settings, second.problems)
    if first.settings is not None:
        shown = " ".join(first.settings.models["m"].cmd)
        assert "${a}" not in shown
        assert "${b}" not in shown
