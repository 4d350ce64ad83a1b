"""The tutorial's policy and eviction rule do what the text says of them (``supervisor/scheduler/design.md``)."""

from config.types import ModelSettings
from protocol.ids import ModelId
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.examples import example
from tests.support.playbook import Play, grant, start, stop

MODELS = {ModelId(name): ModelRule(limit=2) for name in "abc"}


def test_strict_lets_nobody_overtake_even_if_his_model_is_ready() -> None:
    play = Play(Rules(MODELS, example("strict").Strict(), Groups()))
    play.ask("r1", "a").ready("a", 1)
    play.ask("r2", "b") << []
    play.ask("r3", "a") << []
    play.release(1) << [stop("a", 1)]
    play.exited("a", 1) << [start("b", 2)]
    play.ready("b", 2) << [grant("r2", 2, "b", 2)]
    play.release(2) << [stop("b", 2)]
    play.exited("b", 2) << [start("a", 3)]
    play.ready("a", 3) << [grant("r3", 3, "a", 3)]


def test_strict_serves_a_run_of_the_same_model_together() -> None:
    play = Play(Rules(MODELS, example("strict").Strict(), Groups()))
    for call, model in (("r1", "a"), ("r2", "a"), ("r3", "a"), ("r4", "b")):
        play.ask(call, model)
    play.ready("a", 1) << [grant("r1", 1, "a", 1), grant("r2", 2, "a", 1)]
    play.release(1) << [grant("r3", 3, "a", 1)]
    _, problems = example("strict").Strict.parse({"fast": True}, {})
    assert [problem.path for problem in problems] == ["fast"]


def test_least_recently_used_keeps_as_many_as_it_may() -> None:
    rule = example("lru").LeastRecentlyUsed(2)
    play = Play(Rules(MODELS, Fifo(), rule))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.now += 1.0
    play.ask("r2", "b").ready("b", 2).release(2)
    play.now += 1.0
    play.ask("r3", "a").release(3)
    play.ask("r4", "c") << [stop("b", 2)]
    play.ask("r5", "b") << []
    # c takes the place of b; for b it is a's turn to go, which nobody uses.
    play.exited("b", 2) << [start("c", 3), stop("a", 1)]


def test_least_recently_used_says_what_is_wrong_with_its_settings() -> None:
    models = {ModelId("a"): ModelSettings("a", (), "")}
    _, problems = example("lru").LeastRecentlyUsed.parse({"keep": "many", "drop": 1}, models)
    assert [problem.path for problem in problems] == ["drop", "keep"]
