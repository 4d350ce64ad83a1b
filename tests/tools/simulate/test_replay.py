"""Exact replay: the rules are built again as they were, differences are told in words, damage by its line."""

from pathlib import Path
from typing import Any

import pytest

from config.check import load, load_text
from config.scheduling import scheduling
from protocol.ids import CallId, ModelId, WorkerId
from protocol.recording import RecordingError
from supervisor.scheduler import events as ev
from supervisor.scheduler.configured import rules_of
from supervisor.scheduler.contracts import Policy
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.matrix import Matrix
from tests.support.recordings import Tape
from tools.simulate.recorded_rules import recorded_rules, settings_of
from tools.simulate.replay import replay

ROOT = Path(__file__).parents[3]
WORKER = WorkerId("0.1.w")
CONFIG = """
models:
  a: {cmd: x, proxy: 'http://127.0.0.1:1', ttl: 30, concurrencyLimit: 2, aliases: [small, "1"]}
  b: {cmd: x, proxy: 'http://127.0.0.1:2', pinned: true, evictCost: 4, queueTimeout: 20, queueLimit: 7}
"""


def parts(config: str) -> list[str]:
    return [
        config + "routing: {scheduler: {settings: {fifo: {maxWait: 0.5, minResident: 3, priority: {small: 2}}}}}\n",
        config + "groups: {one: {swap: false, exclusive: false, members: [b, a]}}\n",
        config + "matrix: {vars: {x: a}, evict_costs: {x: 3}, sets: {one: 'x & b', two: '+one | b'}}\n",
        config.replace("ttl: 30", "memory: {gpu: 5GiB}")
        + "routing: {router: {use: memory, settings: {memory: {devices: {gpu: 9GiB}, reserve: {gpu: 1GiB}}}}}\n",
    ]


EXAMPLES = [path.read_text() for path in sorted(ROOT.glob("config*.example.yaml"))]


@pytest.mark.parametrize("config", [*parts(CONFIG), *EXAMPLES])
def test_what_is_recorded_of_a_configuration_gives_the_same_rules(config: str) -> None:
    settings = load_text(config).settings
    assert settings is not None
    was, again = rules_of(settings), recorded_rules(scheduling(settings))
    assert list(was.models.items()) == list(again.models.items())
    assert (settings_in(was.policy), was.parking) == (settings_in(again.policy), again.parking)
    assert type(was.eviction) is type(again.eviction)
    if isinstance(was.eviction, Matrix) and isinstance(again.eviction, Matrix):
        assert vars(was.eviction._program) == vars(again.eviction._program)
        assert was.eviction._costs == again.eviction._costs
    else:
        assert vars(was.eviction) == vars(again.eviction)


def settings_in(policy: Policy) -> dict[str, Any]:
    """What a policy shows of itself, its kind among it."""
    names = [name for name in dir(policy) if not name.startswith("_") and not callable(getattr(policy, name))]
    return {name: getattr(policy, name) for name in names}


def test_nothing_that_starts_a_model_and_no_secret_is_in_it() -> None:
    text = "apiKeys: [sesame]\nmodels: {a: {cmd: run --key sesame, env: [K=sesame], proxy: 'http://sesame:1'}}\n"
    settings = load_text(text).settings
    assert settings is not None
    assert "sesame" not in str(scheduling(settings))


def tape(tmp_path: Path, *, config: str = parts(CONFIG)[0]) -> Path:
    """Two models in turn."""
    settings = load_text(config).settings
    assert settings is not None
    core = Core(rules_of(settings), "i")
    found = Tape(core, 0.0, lambda: scheduling(settings))
    a, b = ModelId("a"), ModelId("b")
    events: list[tuple[float, ev.Event]] = [
        (0.0, ev.RequestArrived(CallId("c1"), a, WORKER, "me")),
        (1.0, ev.ModelReady(a, 1)),
        (2.0, ev.RequestArrived(CallId("c2"), b, WORKER)),
        (3.0, ev.RequestAbandoned(CallId("c1"))),
        (4.0, ev.ModelExited(a, 1, "stopped")),
        (5.0, ev.ShutdownAsked(CallId("q"), 3.0)),
    ]
    for now, event in events:
        found.take(event, now, core.handle(event, now))
    return found.write(tmp_path / "recording")


def test_an_unchanged_recording_has_no_difference(tmp_path: Path) -> None:
    found = replay(tape(tmp_path))
    assert found.told() == "6 events in 5.0 s: every decision is the recorded one"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '["StartModel",{"model":"a","generation":1}]',
            '["StartModel",{"model":"b","generation":1}]',
            "line 2, 0.000 s after the beginning, RequestArrived(call='c1', model='a', worker='0.1.w', caller='me', "
            "deadline=None, wants_progress=False): effect 2 was StartModel(model='b', generation=1), and is now "
            "StartModel(model='a', generation=1)",
        ),
        (',["StartModel",{"model":"b","generation":2}]', "", "effect 3 is now StartModel(model='b', generation=2)"),
        ('"effects":[', '"effects":[["Note",{"text":"?"}],', "effect 1 was Note(text='?', level='info'), and is now"),
        ('{"line":"event","at":1.0', '{"line":"event","ignored":true,"at":1.0', "and it is allowed now"),
        ('"event":"ModelExited"', '"event":"ModelReady"', "recorded as allowed, and the phase table forbids it now"),
    ],
)  # fmt: skip
def test_the_first_difference_is_told_in_words(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tape(tmp_path)
    text = file.read_text()
    assert old in text
    # The reason of an exit is no part of a readiness.
    text = text.replace(old, new, 1).replace(
        ',"reason":"stopped"}', "}" if "ModelReady" in new else ',"reason":"stopped"}'
    )
    file.write_text(text)
    difference = replay(file).difference
    assert difference is not None
    assert words in difference


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"event":"ModelReady"', '"event":"ModelSang"', "line 3: there is no 'ModelSang' in this version"),
        ('"generation":1}', '"generation":"one"}', "line 2: Expected `int`, got `str` - at `$.generation`"),
        ('"fields":{"call"', '"fields":{"cell"', "line 2: Object missing required field `call`"),
        ('"arrivals":0,', "", "line 1: the state of the scheduler cannot be restored (KeyError: 'arrivals')"),
        ('"use":"fifo"', '"use":"lifo"', ": routing.scheduler.use: there is no policy 'lifo'"),
        ('"queueLimit":7', '"queueLimit":"many"', "line 1: its configuration is not accepted here: models.b"),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_is_named_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tape(tmp_path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordingError) as caught:
        replay(file)
    assert str(caught.value).startswith(f"{file}, ")
    assert words in str(caught.value)


def test_a_configuration_of_a_recording_can_be_changed_like_a_file() -> None:
    settings = load(ROOT / "config.example.yaml").settings
    assert settings is not None
    config = scheduling(settings)
    config["routing"]["scheduler"]["settings"]["fifo"]["maxWait"] = 20
    assert settings_of(config).routing.policy_settings["maxWait"] == 20
