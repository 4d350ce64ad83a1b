"""The shell around the core: order of events, and the timer."""

import trio

from protocol.ids import CallId, ModelId
from supervisor import clock
from supervisor.loop import Loop
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from tests.support.playbook import WORKER, rules_for

A = ModelId("a")


async def test_an_event_that_an_effect_brings_about_waits_its_turn() -> None:
    performed: list[type] = []
    loop = Loop(Core(rules_for("a"), "i"))

    def perform(effect: do.Effect) -> None:
        performed.append(type(effect))
        if isinstance(effect, do.StartModel):
            loop.post(ev.ModelReady(A, effect.generation))
            assert do.Grant not in performed, "handled inside another event"

    loop.perform = perform
    loop.post(ev.RequestArrived(CallId("c"), A, WORKER))
    assert performed[-1] is do.Grant


async def test_the_core_is_woken_when_it_asked_for_it() -> None:
    refused = trio.Event()
    loop = Loop(Core(rules_for("a", queue_timeout=0.02), "i"))
    loop.perform = lambda effect: refused.set() if isinstance(effect, do.Refuse) else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.run_timer)
        loop.post(ev.RequestArrived(CallId("c"), A, WORKER))
        with trio.fail_after(10):
            await refused.wait()
        nursery.cancel_scope.cancel()


async def test_an_event_that_the_phase_table_forbids_does_not_end_the_loop() -> None:
    loop = Loop(Core(rules_for("a"), "i"))
    loop.perform = lambda effect: None
    loop.post(ev.RequestArrived(CallId("c"), A, WORKER))
    loop.post(ev.ModelReady(A, 1))
    loop.post(ev.ModelReady(A, 1))
    loop.post(ev.RequestArrived(CallId("d"), A, WORKER))


def test_readings_of_other_processes_are_never_in_the_future() -> None:
    assert clock.from_wire(2**62) <= clock.now()
