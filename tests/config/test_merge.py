"""Several files as one configuration (``tests/compat/config.md`` §2): every row of its table, every consequence."""

from pathlib import Path

import pytest

from config.check import Loaded, load
from config.sources import Sources
from config.types import Settings

MODEL = "{cmd: 'sh ${PORT}'}"


def loaded(folder: Path, *texts: str) -> Loaded:
    """The first text stands in a file of its own, the others in a folder."""
    (folder / "conf.d").mkdir()
    first, *others = texts
    (folder / "first.yaml").write_text(first)
    for number, text in enumerate(others):
        (folder / "conf.d" / f"{number:02}.yaml").write_text(text)
    return load(Sources(folder / "first.yaml", folder / "conf.d"))


def good(folder: Path, *texts: str) -> Settings:
    found = loaded(folder, *texts)
    assert found.settings is not None, found.problems
    return found.settings


def said(folder: Path, *texts: str) -> list[str]:
    """Problems that are errors or warnings, with places relative to the folder."""
    lines = [str(problem) for problem in loaded(folder, *texts).problems if problem.severity != "notice"]
    return [line.replace(f"{folder}/", "") for line in lines]


# ------------------------------------------------------------------ the table, row by row


def test_a_key_on_one_side_only_is_kept(tmp_path: Path) -> None:
    found = good(tmp_path, "startPort: 7000\n", f"models: {{a: {MODEL}}}\n", "logLevel: debug\n")
    assert (list(found.models), found.ports, found.log_level) == (["a"], {"a": 7000}, "debug")


WHOLE = {
    "models": ("a", MODEL),
    "groups": ("g", "{members: []}"),
    "profiles": ("p", "{pins: {x: a}}"),
    "selectors": ("s", "{strategy: warm, targets: [a]}"),
    "peers": ("p", "{proxy: 'http://h', models: [m]}"),
    "matrix": ("vars", "{v: a}"),
    "routing.router.settings.groups": ("g", "{members: []}"),
    "routing.router.settings.matrix": ("evict_costs", "{a: 2}"),
}


def at_path(path: str, value: str) -> str:
    for key in reversed(path.split(".")):
        value = f"{{{key}: {value}}}"
    return value


@pytest.mark.parametrize("path", WHOLE)
def test_an_entry_that_is_whole_in_two_files_is_an_error_that_names_both(path: str, tmp_path: Path) -> None:
    name, value = WHOLE[path]
    text = at_path(path, f"{{{name}: {value}}}")
    lines = said(tmp_path, f"\n{text}\n", f"\n\n{text}\n")
    assert [line.partition(": ")[2] for line in lines if "keep one of them" in line] == [
        f"error: {path}.{name}: stands in line 2 of first.yaml, too; keep one of them"
    ]
    assert any(line.startswith("conf.d/00.yaml:3:") for line in lines)


@pytest.mark.parametrize("path", WHOLE)
@pytest.mark.parametrize("other", ["", "~", "3", "[a]"])
def test_what_is_united_entry_by_entry_is_a_mapping_in_all_files(path: str, other: str, tmp_path: Path) -> None:
    name, value = WHOLE[path]
    lines = said(tmp_path, at_path(path, other), at_path(path, f"{{{name}: {value}}}"))
    assert any(f"error: {path}: stands in line 1 of first.yaml, too; both must be mappings" in line for line in lines)


def test_entries_of_different_files_are_united_in_the_order_of_the_files(tmp_path: Path) -> None:
    found = good(
        tmp_path,
        f"models: {{c: {MODEL}}}\ngroups: {{z: {{members: [a]}}}}\n",
        f"groups: {{y: {{members: [c]}}}}\nmodels: {{b: {MODEL}}}\n",
        f"models: {{a: {MODEL}}}\n",
    )
    assert list(found.models) == ["c", "b", "a"]
    assert [group.id for group in found.groups] == ["z", "y"]
    assert found.ports == {"a": 5800, "b": 5801, "c": 5802}


def test_mappings_are_merged_at_every_depth(tmp_path: Path) -> None:
    fifo = "routing: {scheduler: {settings: {fifo: %s}}}\n"
    found = good(
        tmp_path,
        f"models: {{a: {MODEL}, b: {MODEL}}}\n" + fifo % "{maxWait: 3, priority: {a: 1}}",
        fifo % "{minResident: 4, priority: {b: 2}}" + "gateway: {keepAliveAfter: 3}\n",
        "gateway: {bodyLimit: 1MiB}\nrouting: {router: {use: group}}\n",
    )
    assert found.routing.policy_settings == {"maxWait": 3, "priority": {"a": 1, "b": 2}, "minResident": 4}
    assert (found.gateway.keep_alive_after, found.gateway.body_limit) == (3, 2**20)


def test_lists_are_joined_earlier_files_first(tmp_path: Path) -> None:
    assert good(tmp_path, "apiKeys: [one]\n", "apiKeys:\n- two\n- three\n", "apiKeys: [one]\n").api_keys == (
        "one",
        "two",
        "three",
        "one",
    )


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        ("5", "5", True),
        ("x", "x", True),
        ("x", "'x'", True),
        ("true", "true", True),
        ("~", "null", True),
        ("~", "", True),
        ("", "Null", True),
        ("", "5", True),
        ("5", "", True),
        ("", "", True),
        ("5", "6", False),
        ("100", "'100'", False),
        ("1", "1.0", False),
        ("16", "0x10", False),
        ("true", "True", False),
        ("true", "'true'", False),
        ("~", "5", False),
        ("5", "null", False),
        ("~", "'~'", False),
        ("''", "5", False),
    ],
)
def test_a_scalar_in_two_files_must_say_the_same(first: str, second: str, agree: bool, tmp_path: Path) -> None:
    lines = said(tmp_path, f"macros:\n  m: {first}\n", f"macros:\n\n  m: {second}\n")
    conflicts = [line for line in lines if "first.yaml, too" in line]
    assert conflicts == (
        []
        if agree
        else [
            "conf.d/00.yaml:3:3: error: macros.m: stands in line 2 of first.yaml, too; with another value: "
            "keep one of them"
        ]
    )


@pytest.mark.parametrize(("first", "second"), [("5", ""), ("", "5"), ("[k]", ""), ("", "[k]"), ("", "{k: 1}")])
def test_what_is_empty_gives_way(first: str, second: str, tmp_path: Path) -> None:
    found = loaded(tmp_path, f"stores: {first}\n", f"\nstores: {second}\n")
    (warning,) = found.problems
    assert warning.text.startswith("there is no such key")
    # The place is that of the one that counts.
    assert (warning.file.name, warning.line) == (("first.yaml", 1) if first else ("00.yaml", 2))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("[a]", "{a: 1}", "as a list, not a mapping"),
        ("{a: 1}", "[a]", "as a mapping, not a list"),
        ("1", "[a]", "as a single value, not a list"),
        ("{a: 1}", "1", "as a mapping, not a single value"),
        ("~", "[a]", "as a single value, not a list"),
        ("[a]", "~", "as a list, not a single value"),
    ],
)
def test_values_of_different_kinds_conflict(first: str, second: str, words: str, tmp_path: Path) -> None:
    assert f"conf.d/00.yaml:1:1: error: hooks: stands in line 1 of first.yaml, too; {words}" in said(
        tmp_path, f"hooks: {first}\n", f"hooks: {second}\n"
    )


def test_an_alias_for_a_mapping_is_a_mapping(tmp_path: Path) -> None:
    found = good(tmp_path, "x: &g {keepAliveAfter: 3}\ngateway: *g\n", "gateway: {clientStallTimeout: 9}\n")
    assert (found.gateway.keep_alive_after, found.gateway.client_stall_timeout) == (3, 9)


# ------------------------------------------------------------------ consequences


def test_a_matrix_is_split_by_its_three_parts_and_no_deeper(tmp_path: Path) -> None:
    models = f"models: {{a: {MODEL}, b: {MODEL}}}\n"
    found = good(
        tmp_path, models, "matrix: {vars: {v: a}}\n", "matrix: {sets: {s: v & b}}\n", "matrix: {evict_costs: {v: 3}}\n"
    )
    assert (found.routing.eviction, found.routing.eviction_settings["evict_costs"]) == ("matrix", {"a": 3})
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    assert said(deeper, models, "matrix: {sets: {s: a & b}}\n", "matrix: {sets: {t: a | b}}\n") == [
        "conf.d/01.yaml:1:10: error: matrix.sets: stands in line 1 of conf.d/00.yaml, too; keep one of them"
    ]


def test_macros_of_one_file_serve_all_and_the_same_one_twice_is_fine(tmp_path: Path) -> None:
    found = good(
        tmp_path,
        "macros: {dir: /m, tail: '--x'}\n",
        "models: {a: {cmd: 'sh ${last} ${PORT}'}}\nmacros: {dir: /m}\n",
        "macros: {last: '${dir}/a ${tail}'}\n",
    )
    assert found.models["a"].cmd == ("sh", "/m/a", "--x", "5800")


def test_what_is_joined_are_keys_hooks_and_paths(tmp_path: Path) -> None:
    text = "hooks: {on_startup: {preload: [%s]}}\nupstream: {ignorePaths: [%s]}\napiKeys: [%s]\n"
    found = loaded(tmp_path, text % ("a", "a", "a"), text % ("b", "b", "b"))
    assert {problem.where for problem in found.problems} == {"hooks", "upstream", "hooks.on_startup.preload[0]"}
    assert found.settings is not None
    assert found.settings.api_keys == ("a", "b")


def test_anchors_belong_to_their_file(tmp_path: Path) -> None:
    first = "x: &same {ttl: 5}\nmodels: {a: {cmd: 'sh ${PORT}', <<: *same}}\n"
    second = "y: &same {ttl: 6}\nmodels: {b: {cmd: 'sh ${PORT}', <<: *same}}\n"
    found = good(tmp_path, first, second)
    assert (found.models["a"].ttl, found.models["b"].ttl) == (5, 6)
    other = tmp_path / "other"
    other.mkdir()
    (line,) = said(other, first, "models: {b: *same}\n")
    assert line.startswith("conf.d/00.yaml:1:13: error: not YAML: an alias that is not defined before")


@pytest.mark.parametrize("empty", ["", "# nothing\n", "{}", "~", "---\n...\n"])
def test_an_empty_file_is_passed_over(empty: str, tmp_path: Path) -> None:
    assert said(tmp_path, f"models: {{a: {MODEL}}}", empty, "ttl: 1") == [
        "conf.d/01.yaml:1:1: warning: ttl: there is no such key"
    ]


@pytest.mark.parametrize("odd", ["[]", "hello", "5"])
def test_a_file_that_is_a_single_value_counts_as_empty_and_is_warned_about(odd: str, tmp_path: Path) -> None:
    assert said(tmp_path, odd, f"models: {{a: {MODEL}}}") == [
        "first.yaml:1:1: warning: is no mapping of keys to values, and counts as empty"
    ]


def test_only_the_first_document_of_each_file_counts(tmp_path: Path) -> None:
    assert good(tmp_path, "startPort: 7000\n---\nstartPort: 8000\n", f"models: {{a: {MODEL}}}").ports == {"a": 7000}


def test_all_files_empty_is_a_valid_configuration_without_models(tmp_path: Path) -> None:
    assert good(tmp_path, "", "# none\n") == Settings()


def test_the_environment_is_filled_in_before_files_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAME", "7000")
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.setenv("NAME", "a")
    port, level = "startPort: ${env.SAME}\n", "logLevel: ${env.NOTHING}\n"
    found = good(tmp_path, port + level, f"startPort: 7000\nlogLevel: debug\nmodels: {{a: {MODEL}}}\n")
    assert (found.ports, found.log_level) == ({"a": 7000}, "debug")
    other = tmp_path / "other"
    other.mkdir()
    (line,) = said(other, f"models: {{a: {MODEL}}}\n", f"models: {{'${{env.NAME}}': {MODEL}}}\n")
    assert line == "conf.d/00.yaml:1:10: error: models.a: stands in line 1 of first.yaml, too; keep one of them"


# ------------------------------------------------------------------ what is said of problems


def test_every_problem_names_its_own_file(tmp_path: Path) -> None:
    lines = said(
        tmp_path,
        "models:\n  a: {cmd: 'sh ${PORT}', aliases: [x]}\nttl: 1\n",
        "startPort: x\n",
        "models:\n  b: {cmd: 'sh ${PORT}', ttl: soon, aliases: [x]}\napiKeys: [ok, '']\ngroups: {g: {members: [c]}}\n",
    )
    assert lines == [
        "conf.d/00.yaml:1:12: error: startPort: found 'x', expected a port, 1 to 65535",
        "conf.d/01.yaml:2:31: error: models.b.ttl: found 'soon', expected a whole number of seconds, -1 or more",
        "conf.d/01.yaml:2:47: error: models.b.aliases[0]: alias 'x' is used twice "
        "(also by model 'a' in line 2 of first.yaml)",
        "conf.d/01.yaml:3:15: error: apiKeys[1]: an empty key would let everybody in",
        "conf.d/01.yaml:4:24: error: groups.g.members[0]: there is no model 'c'",
        "first.yaml:3:1: warning: ttl: there is no such key",
    ]


def test_all_conflicts_are_told_at_once_and_the_file_that_is_no_yaml_as_well(tmp_path: Path) -> None:
    same = f"models: {{a: {MODEL}}}\nstartPort: 1\n"
    assert len(said(tmp_path, same, "startPort: 2\nmodels: {a: 1}\n", "globalTTL: []\n")) == 3
    other = tmp_path / "other"
    other.mkdir()
    assert [line.partition(" error")[0] for line in said(other, "a: [", "- b\n", same)] == [
        "conf.d/00.yaml:1:1:",
        "first.yaml:1:5:",
    ]


def test_a_conflict_repeats_no_secret(tmp_path: Path) -> None:
    lines = said(tmp_path, "apiKeys: {hush: hush}\nmacros: {k: hush}\n", "apiKeys: {hush: 2}\nmacros: {k: hush2}\n")
    assert len([line for line in lines if "keep one" in line]) == 2
    assert "hush" not in "".join(lines)
