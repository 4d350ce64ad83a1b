"""How long a model keeps its room, one dialogue each (``design.md``, *The claim*; more: ``test_core_claims.py``)."""

from protocol.ids import ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import Rules
from tests.support.playbook import Play, grant, memory_rules, phase, rules_for, stop

A, B = (ModelId(name) for name in "ab")


def test_min_resident_holds_even_an_idle_model() -> None:
    play = Play(rules_for("a", "b", policy=Fifo(min_resident=30.0)))
    play.ask("r1", "a").ready("a", 1).release(1)
    ready_at = play.now
    play.ask("r2", "b") << [do.WakeAt(ready_at + 30.0)]
    play.after(29.0) << []
    play.after(1.0) << [stop("a", 1)]


def test_an_idle_model_gives_way_when_its_time_is_over_although_the_busy_one_beside_it_was_named() -> None:
    rules = memory_rules({"a": 5, "b": 5, "c": 5}, 10)
    play = Play(Rules(rules.models, Fifo(max_wait=0.0, min_resident=30.0), rules.eviction))
    play.ask("r1", "a").ready("a", 1)
    play.now += 40.0
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b") << [do.WakeAt(play.now + 30.0)]
    assert play.core.board.models[B].blocked_by == {A}
    play.after(30.0) << [stop("c", 2)]


def test_a_long_load_serves_its_waiters_before_a_claim_that_ripened_meanwhile() -> None:
    play = Play(rules_for("a", "b", limit=2, policy=Fifo(max_wait=60.0)))
    play.ask("r1", "a").ask("r2", "a").ask("r3", "a") << []
    play.ask("r4", "b")
    play.after(300.0) << []
    assert play.core.board.claim is not None
    play.ready("a", 1) << [grant("r1", 1, "a", 1), grant("r2", 2, "a", 1)]
    play.release(1) << [grant("r3", 3, "a", 1)]
    play.after(299.0) << []
    assert phase(play, A) is Phase.READY
    play.after(1.0)
    assert phase(play, A) is Phase.DRAINING


def test_who_waited_beyond_the_limit_when_a_model_became_ready_does_not_hold_up_the_claim_against_it() -> None:
    play = Play(rules_for("a", "b", limit=1, policy=Fifo(max_wait=60.0)))
    play.ask("r1", "a").ask("r2", "a").ask("r3", "b")
    play.after(70.0)
    play.ready("a", 1) << [grant("r1", 1, "a", 1)]
    play.after(70.0)
    assert phase(play, A) is Phase.DRAINING
