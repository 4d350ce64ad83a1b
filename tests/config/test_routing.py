"""The ``routing`` section and the older styles (``tests/compat/config.md`` §11): what is taken, what is refused."""

from typing import Any

import pytest

from config.check import load_text
from config.errors import Severity
from config.types import Group, Routing

MODELS = """\
models:
  a: {cmd: "sh", proxy: "http://127.0.0.1:1"}
  b: {cmd: "sh", proxy: "http://127.0.0.1:1", aliases: [bee]}
  sdxl: {cmd: "sh", proxy: "http://127.0.0.1:1"}
"""


def routing(text: str) -> Routing:
    loaded = load_text(MODELS + text)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    return loaded.settings.routing


def complaints(text: str) -> list[str]:
    loaded = load_text(MODELS + text)
    kept = [problem for problem in loaded.problems if problem.severity is not Severity.NOTICE]
    return [f"{problem.line} {problem.severity} {problem.where}: {problem.text}" for problem in kept]


def test_nothing_said_means_fifo_and_the_default_group() -> None:
    assert routing("") == Routing("fifo", {}, "group", {}, "routing.router.settings.groups")
    assert routing("routing: {}\n").eviction == "group"
    assert routing("routing: {router: {use: group}}\n").eviction == "group"


def test_groups_in_both_styles() -> None:
    entry = {"swap": False, "exclusive": True, "persistent": False, "members": ("a",)}
    old = routing("groups: {g: {swap: false, members: [a]}}\n")
    assert (old.eviction, old.eviction_settings, old.eviction_path) == ("group", {"g": entry}, "groups")
    loaded = load_text(MODELS + "routing: {router: {settings: {groups: {g: {swap: false, members: [a]}}}}}\n")
    assert loaded.settings is not None
    assert loaded.settings.groups == (Group("g", swap=False, members=("a",)),)
    assert loaded.settings.routing.eviction_settings == {"g": entry}


@pytest.mark.parametrize(
    "text",
    [
        "matrix: {vars: {x: sdxl}, evict_costs: {x: 4, b: 2}, sets: {s: a & x}}\n",
        (
            "routing: {router: {use: matrix, settings: {matrix: {vars: {x: sdxl}, evict_costs: {x: 4, b: 2},"
            " sets: {s: a & x}}}}}\n"
        ),
    ],
)
def test_a_matrix_in_both_styles(text: str) -> None:
    found = routing(text)
    assert found.eviction == "matrix"
    assert found.eviction_settings["evict_costs"] == {"sdxl": 4, "b": 2}
    assert found.eviction_settings["program"].keep("a", {"sdxl": 1, "b": 1}) == {"sdxl"}


def test_memory_is_read_in_bytes() -> None:
    found = routing(
        "routing: {router: {use: memory, settings: {memory: {devices: {gpu0: 24GiB}, reserve: {gpu0: 1}}}}}\n"
    )
    assert found.eviction_settings == {"devices": {"gpu0": 24 * 2**30}, "reserve": {"gpu0": 1}}
    loaded = load_text(MODELS.replace('"sh", ', '"sh", memory: {gpu0: 1.5KiB}, pinned: yes, evictCost: 3, ', 1))
    assert loaded.settings is not None
    model = loaded.settings.models["a"]
    assert (dict(model.memory), model.pinned, model.evict_cost) == ({"gpu0": 1536}, True, 3)


def test_settings_of_a_policy_or_rule_that_is_not_ours_are_kept_as_they_are() -> None:
    found = routing(
        "routing:\n"
        "  scheduler: {use: theirs, settings: {theirs: {x: [1, {y: no}], z: 2.5}}}\n"
        "  router: {use: mine, settings: {mine: {deep: {er: ~}}}}\n"
    )
    assert (found.policy, found.policy_settings) == ("theirs", {"x": [1, {"y": "no"}], "z": 2.5})
    assert (found.eviction, found.eviction_settings) == ("mine", {"deep": {"er": None}})
    assert found.policy_path == "routing.scheduler.settings.theirs"
    assert found.eviction_path == "routing.router.settings.mine"


BOTH = "routing.router and the top-level {} exclude each other; delete one, or move it to routing.router.settings"
MISTAKES: list[tuple[str, list[str]]] = [
    (
        "groups: {g: {members: [a]}}\nmatrix: {sets: {s: a}}\n",
        ["6 error matrix: groups and matrix exclude each other; delete one of them"],
    ),
    (
        "groups: {g: {members: [a]}}\nrouting: {router: {use: group}}\n",
        [f"5 error groups: {BOTH.format(repr('groups'))} (routing.router.use is set, too)"],
    ),
    (
        "matrix: {sets: {s: a}}\nrouting: {router: {settings: {groups: {g: {members: [a]}}}}}\n",
        [f"5 error matrix: {BOTH.format(repr('matrix'))} (routing.router.settings.groups is set, too)"],
    ),
    (
        "routing: {router: {use: matrix, settings: {matrix: {sets: {s: a}}, groups: {g: {members: [a]}}}}}\n",
        [
            "5 error routing.router.settings.groups: routing.router.use is 'matrix', so 'matrix' decides; "
            "delete 'groups'"
        ],
    ),
    (
        "routing: {router: {use: memory, settings: {memory: {devices: {g: 1GiB}}, groups: {g: {members: [a]}}}}}\n",
        [
            "2 warning models.a: says no 'memory', so it counts as needing none",
            "3 warning models.b: says no 'memory', so it counts as needing none",
            "4 warning models.sdxl: says no 'memory', so it counts as needing none",
            "5 error routing.router.settings.groups: routing.router.use is 'memory', so 'memory' decides; "
            "delete 'groups'",
        ],
    ),
    (
        "routing: {router: {settings: {matrix: {sets: {s: a}}, groups: {g: {members: [a]}}}}}\n",
        ["5 error routing.router.settings.matrix: routing.router.use is 'group', so 'groups' decides; delete 'matrix'"],
    ),
    (
        "routing: {router: {settings: {matrix: {sets: {s: a}}}}}\n",
        [
            "5 warning routing.router.settings.matrix: is not used, because routing.router.use is 'group'; "
            "say 'use: matrix', or delete it"
        ],
    ),
    (
        "routing: {router: {use: matrix}}\n",
        ["5 error routing.router.use: 'use: matrix' needs routing.router.settings.matrix"],
    ),
    (
        "routing:\n  router: {use: matrix, settings: {matrix: {sets: {creative: 'a & (b | sd)'}}}}\n",
        ["6 error routing.router.settings.matrix.sets.creative: unknown model 'sd' at column 10; did you mean 'sdxl'?"],
    ),
    (
        "matrix: {vars: {x: bee, 'b c': a}, evict_costs: {q: 1, a: 0, x: 3}, sets: {s: a & x}, sts: 1}\n",
        [
            "5 error matrix.vars.x: there is no model 'bee'; did you mean 'b'?",
            "5 error matrix.vars.b c: a short name has 1 to 32 letters, digits, dots or dashes",
            "5 error matrix.evict_costs.q: there is no model 'q'",
            "5 error matrix.evict_costs.a: found '0', expected a cost, 1 or more",
            "5 warning matrix.sts: there is no such key; did you mean 'sets'?",
        ],
    ),
    ("matrix: {sets: {}}\n", ["5 error matrix.sets: a matrix needs at least one set"]),
    (
        "routing: {router: {use: memory, settings: {memory: {devices: {g: much}}}}}\n",
        [
            "2 warning models.a: says no 'memory', so it counts as needing none",
            "3 warning models.b: says no 'memory', so it counts as needing none",
            "4 warning models.sdxl: says no 'memory', so it counts as needing none",
            "5 error routing.router.settings.memory.devices.g: found 'much', expected a size such as 64MiB",
        ],
    ),
    (
        "routing: {schedular: {}, scheduler: {ues: fifo, settings: {window: {}}}}\n",
        [
            "5 warning routing.schedular: there is no such key; did you mean 'scheduler'?",
            "5 warning routing.scheduler.ues: there is no such key; did you mean 'use'?",
            "5 warning routing.scheduler.settings.window: is not used, because routing.scheduler.use is 'fifo'",
        ],
    ),
    ("routing: 3\n", ["5 error routing: found '3', expected a mapping"]),
    ("routing: {router: [x]}\n", ["5 error routing.router: found a list, expected a mapping"]),
    (
        "routing: {scheduler: {settings: {fifo: 3}}}\n",
        ["5 error routing.scheduler.settings.fifo: found '3', expected a mapping"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=range(len(MISTAKES)))
def test_every_mistake_in_routing_gives_its_path(text: str, expected: list[str]) -> None:
    assert complaints(text) == expected


def test_memory_without_its_rule_is_a_warning() -> None:
    loaded = load_text(MODELS.replace('"sh", ', '"sh", memory: {gpu0: 1}, pinned: yes, ', 1))
    assert [(problem.where, str(problem.severity)) for problem in loaded.problems] == [
        ("models.a.memory", "warning"),
        ("models.a.pinned", "warning"),
    ]


def test_what_a_part_refuses_stands_at_the_place_of_the_setting() -> None:
    loaded = load_text(MODELS + "routing:\n  scheduler:\n    settings:\n      fifo:\n        maxWait: -3\n")
    problem: Any = loaded.error("routing.scheduler.settings.fifo.maxWait", "text")
    assert (problem.line, problem.column) == (9, 9)
    problem = loaded.error("routing.scheduler.settings.fifo.priority.x", "text")
    assert (problem.line, problem.column) == (8, 7)
