"""Several swaps at once: whose victim is whose, and who waits for whom (``design.md``, *Making room*)."""

from protocol.ids import ModelId
from supervisor.scheduler import events as ev
from supervisor.scheduler.evictions.group import Group
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.playbook import Play, phase, rules_for, start, stop

A, B, C, D = (ModelId(name) for name in "abcd")


def two_devices(needs: dict[str, dict[str, int]], max_wait: float = 60.0) -> Rules:
    """Rules with ``fifo`` and ``memory`` for ten of ``gpu`` and ten of ``ram``."""
    takes = {ModelId(name): need for name, need in needs.items()}
    return Rules(dict.fromkeys(takes, ModelRule()), Fifo(max_wait), Memory({"gpu": 10, "ram": 10}, takes))


def a_swap_and_a_claim() -> Play:
    """b waits for the exit of a, the claim of d for that of c; either would be room enough for b."""
    needs = {"a": {"gpu": 5}, "c": {"gpu": 5, "ram": 10}, "b": {"gpu": 5}, "d": {"ram": 10}}
    play = Play(two_devices(needs))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2)
    play.ask("r3", "d").after(59.0)
    play.ask("r4", "b") << [stop("a", 1)]
    return play.after(1.0).release(2) << [stop("c", 2)]


def test_two_swaps_on_different_devices_do_not_wait_for_each_other() -> None:
    play = Play(two_devices({"a": {"gpu": 10}, "b": {"gpu": 10}, "c": {"ram": 10}, "d": {"ram": 10}}))
    play.ask("r1", "a").ready("a", 1).release(1)
    play.ask("r2", "c").ready("c", 2).release(2)
    play.ask("r3", "b") << [stop("a", 1)]
    play.ask("r4", "d") << [stop("c", 2)]
    play.exited("c", 2) << [start("d", 3)]
    play.exited("a", 1) << [start("b", 4)]


def test_a_swap_under_way_leaves_the_victim_of_a_claim_to_it_and_starts_as_soon_as_there_is_room() -> None:
    play = a_swap_and_a_claim()
    assert [plan.victims for plan in play.core.board.plans.values()] == [{A}, {C}]
    play.exited("c", 2) << [start("b", 3), start("d", 4)]


def test_a_swap_that_comes_to_need_the_victim_of_a_claim_is_given_up_and_starts_after_it() -> None:
    play = a_swap_and_a_claim()
    play >> ev.StopOverdue(A, 1, 4711)
    play << []
    assert (phase(play, B), phase(play, D)) == (Phase.STOPPED, Phase.MAKING_ROOM)
    play.exited("c", 2) << [start("d", 3), start("b", 4)]


def test_victims_are_stopped_in_configuration_order_not_by_name() -> None:
    beside = Group(swap=False, exclusive=False)
    play = Play(rules_for("z", "m", "a", "t", groups=dict.fromkeys("zma", beside)))
    for call, model in enumerate("azm", 1):
        play.ask(f"r{call}", model).ready(model, call).release(call)
    play.ask("r4", "t") << [stop("z", 2), stop("m", 3), stop("a", 1)]
