"""What becomes of a recording: every request once, with its own duration, and measured costs."""

from collections.abc import Sequence
from typing import Any

import pytest

from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tools.simulate.recorded import Demand, Demands
from tools.simulate.replay import Step
from tools.simulate.world import Arrival, Cost

A, B = ModelId("a"), ModelId("b")
W, V = WorkerId("0.1.w"), WorkerId("1.2.v")
BEGAN = 1000.0
Said = tuple[float, ev.Event, Sequence[do.Effect]]


def new_core(parking: bool = False) -> Core:
    rule = ModelRule(limit=2, queue_limit=3)
    return Core(Rules({A: rule, B: rule}, Fifo(), Groups(), parking), "i")


def demand_of(*said: Said, core: Core | None = None) -> Demand:
    """Steps at seconds since the beginning; ``core``: its state at the beginning."""
    demands = Demands(BEGAN, (core or new_core()).snapshot(), "ab")
    for number, (at, event, effects) in enumerate(said, 2):
        demands.take(Step(number, BEGAN + at, event, tuple(effects)))
    return demands.demand()


def played(*said: tuple[float, ev.Event], core: Core | None = None) -> Demand:
    """The same with what the real core decides."""
    core = core or new_core()
    demands = Demands(BEGAN, core.snapshot(), "ab")
    for number, (at, event) in enumerate(said, 2):
        demands.take(Step(number, BEGAN + at, event, tuple(core.handle(event, BEGAN + at))))
    return demands.demand()


def asked(call: str, model: ModelId = A, caller: str = "", **more: Any) -> ev.RequestArrived:
    return ev.RequestArrived(CallId(call), model, W, caller, **more)


def granted(call: str, lease: int, model: ModelId = A, *, parkable: bool = False, worker: WorkerId = W) -> do.Grant:
    return do.Grant(CallId(call), worker, LeaseId(f"L{lease}"), model, 1, parkable)


def released(lease: int, at: float) -> tuple[float, ev.Event, Sequence[do.Effect]]:
    return at, ev.LeaseReleased(LeaseId(f"L{lease}"), BEGAN + at), ()


def test_a_request_has_its_arrival_its_caller_and_the_duration_of_its_exchange() -> None:
    found = played(
        (1.0, asked("c1", A, "ann", deadline=BEGAN + 31.0)),
        (4.0, ev.ModelReady(A, 1)),
        (6.5, ev.LeaseReleased(LeaseId("i/L1"), BEGAN + 6.5)),
    )
    assert list(found.arrivals) == [Arrival(1.0, "a", 2.5, "ann", None, 30.0)]
    assert found.costs["a"] == Cost(3.0)
    assert found.notes == ()
    assert found.record.waits == [("a", 1.0, 3.0)]
    assert (found.record.starts, found.record.wasted, found.record.serving) == (1, 0, 2.5)


def test_costs_are_measured_by_model_and_the_unknown_ones_are_as_the_others() -> None:
    found = demand_of(
        (0.0, asked("c1"), [do.StartModel(A, 1)]),
        (10.0, ev.ModelReady(A, 1), []),
        (12.0, asked("c2"), [do.StopModel(A, 1, do.StopReason.EVICTED)]),
        (15.0, ev.ModelExited(A, 1, "stopped"), [do.StartModel(A, 2)]),
        (20.0, ev.ModelStartFailed(A, 2, "no"), [do.StopModel(A, 2, do.StopReason.ABORTED)]),
        (21.0, ev.ModelExited(A, 2, "failed"), []),
    )
    assert found.costs["a"] == Cost(start=10.0, stop=2.0, crash=0.5)
    assert found.costs["b"] == Cost(start=10.0, stop=2.0)


def test_who_leaves_while_he_waits_leaves_again_and_would_have_taken_the_average() -> None:
    found = demand_of(
        (0.0, asked("c1"), [granted("c1", 1)]),
        (0.5, asked("c2"), []),
        released(1, 4.0),
        (7.5, ev.RequestAbandoned(CallId("c2")), []),
    )
    assert [(row.service, row.cancel_after) for row in found.arrivals] == [(4.0, None), (4.0, 7.0)]
    assert found.record.models["a"].left == 1
    assert "1 of 2 requests" in found.notes[0]


def test_who_leaves_during_his_exchange_has_had_that_much_service() -> None:
    found = demand_of((0.0, asked("c1"), [granted("c1", 1)]), (3.0, ev.RequestAbandoned(CallId("c1")), []))
    assert [(row.service, row.cancel_after) for row in found.arrivals] == [(3.0, None)]


def test_refused_requests_are_demand_too() -> None:
    refusal = do.Refuse(CallId("c1"), W, Refusal.TIMED_OUT, "")
    found = demand_of((0.0, asked("c1"), []), (9.0, ev.DeadlineReached(), [refusal]))
    assert [row.service for row in found.arrivals] == [1.0]
    assert (found.record.refused, found.record.models["a"].missed) == (1, 1)


def test_exchanges_of_parked_leases_are_spread_over_the_time_between_reports() -> None:
    found = demand_of(
        (0.0, asked("c1", caller="ann"), [granted("c1", 1, parkable=True)]),
        (10.0, ev.ExchangesReported(A, 1, 3, (0.05, 0.02, 0.01), BEGAN + 10.0), []),
        (10.1, ev.ExchangesReported(A, 1, 2, (0.02, 0.02), BEGAN + 10.1), []),
        released(1, 11.0),
    )
    rows = [(round(row.at, 6), round(row.service, 6), row.caller) for row in found.arrivals]
    assert rows == [
        (0.0, 0.05, "ann"),
        (9.855, 0.02, "ann"),
        (9.99, 0.01, "ann"),
        (10.03, 0.02, "ann"),
        (10.08, 0.02, "ann"),
    ]
    assert found.record.models["a"].served == 5
    assert found.record.serving == pytest.approx(0.12), "a parked lease serves nobody"
    assert found.notes == ()


def test_each_report_is_counted_once_however_many_leases_are_parked() -> None:
    found = demand_of(
        (0.0, asked("c1"), [granted("c1", 1, parkable=True)]),
        (0.0, asked("c2"), [granted("c2", 2, parkable=True)]),
        (0.2, ev.ExchangesReported(A, 1, 1, (0.1,), BEGAN), []),
        (0.4, ev.ExchangesReported(A, 1, 2, (0.15, 0.1), BEGAN), []),
    )
    assert sorted(row.service for row in found.arrivals) == pytest.approx([0.1, 0.1, 0.15])


def test_who_is_there_at_the_beginning_comes_at_the_beginning() -> None:
    core = new_core()
    core.handle(asked("c1", A, "ann"), BEGAN - 50)
    core.handle(ev.ModelReady(A, 1), BEGAN - 40)
    core.handle(asked("c2", B, "bob", deadline=BEGAN + 20), BEGAN - 30)
    core.handle(ev.LoadAsked(CallId("q"), B), BEGAN - 20)
    found = played((5.0, ev.LeaseReleased(LeaseId("i/L1"), BEGAN + 5.0)), core=core)
    rows = [(row.at, row.model, row.service, row.caller, row.deadline) for row in found.arrivals]
    assert rows == [(0.0, "a", 5.0, "", None), (0.0, "b", 5.0, "bob", 20.0)]
    assert found.notes[0] == "at the beginning a ran already; here they have to be started first"
    assert found.costs["a"].start == 10.0, "what the supervisor had learned"


def test_a_lost_worker_takes_its_requests_with_it() -> None:
    other = ev.RequestArrived(CallId("c3"), A, V)
    found = demand_of(
        (0.0, asked("c1"), [granted("c1", 1)]),
        (1.0, asked("c2"), []),
        (1.0, other, [granted("c3", 2, worker=V)]),
        (3.0, ev.WorkerLost(W), []),
        released(2, 5.0),
    )
    assert [(row.service, row.cancel_after) for row in found.arrivals] == [(3.0, None), (3.5, 2.0), (4.0, None)]
    assert "not simulated: deaths of workers (1)" in found.notes


def test_an_exit_that_nobody_asked_for_ends_exchanges_and_is_told() -> None:
    found = demand_of((0.0, asked("c1"), [granted("c1", 1)]), (2.0, ev.ModelExited(A, 1, "killed"), []))
    assert [row.service for row in found.arrivals] == [2.0]
    assert found.notes == ("not simulated: exits that nobody asked for (1)",)


def test_models_that_the_first_configuration_lacks_are_named() -> None:
    found = demand_of((0.0, asked("c1", ModelId("z")), []))
    assert found.notes[0].startswith("requests for z, which the configuration at the beginning lacks")
