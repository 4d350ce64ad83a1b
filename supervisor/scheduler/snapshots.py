"""The whole state of the core as plain values, and back: numbers, text, lists, dictionaries with text keys.

What can be derived (indexes, who holds which lease) is derived again. Rules are not in it: a core is
restored under the rules that it is made with. Called by ``Core.snapshot`` and ``Core.restore``.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from protocol.ids import ModelId
from supervisor.scheduler.backoff import FailureAccount
from supervisor.scheduler.board import Board
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.estimates import Learned
from supervisor.scheduler.events import Snapshot
from supervisor.scheduler.orders import Order, Orders
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.room import Room
from supervisor.scheduler.state import NEVER, Lease, ModelRule, ModelState, Parking, Plan, StandingClaim, Waiter
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timers

_PLAIN = (
    "generation", "last_used", "ready_at", "wanted_at", "last_swap_time", "starts", "swaps", "stuck_pid",
    "stop_asked", "ordered", "retired",
)  # fmt: skip
_TIMERS = ("ttl_timer", "residence_timer", "answer_timer", "deadline_timer")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a core is made of."""

    board: Board
    timers: Timers
    steps: Steps
    room: Room
    orders: Orders


def take(parts: Parts) -> dict[str, Any]:
    """The state as plain values."""
    board = parts.board
    return {
        "models": [_model(model) for model in board.models.values()],
        "waiters": [_plain(waiter) for waiter in board.waiters.values()],
        "leases": [_plain(lease) for lease in board.leases.values()],
        "plans": [
            {"target": plan.target, "number": plan.number, "victims": sorted(plan.victims)}
            for plan in board.plans.values()
        ],
        "claim": board.claim and {**_plain(board.claim), "draining": sorted(board.claim.draining)},
        "unjudged": sorted(board.unjudged),
        "closing": board.closing,
        "arrivals": board.arrivals,
        "generations": parts.steps.generations,
        "granted": parts.steps.leases,
        "plans_made": parts.room.plans_made,
        "timers": parts.timers.snapshot(),
        "orders": [{**_plain(order), "cut_at": _finite(order.cut_at)} for order in parts.orders.under_way],
        "policy": dict(board.rules.policy.snapshot()),
        "eviction": dict(board.rules.eviction.snapshot()),
    }


def put(parts: Parts, snapshot: Snapshot) -> None:
    """Fill a new core."""
    board = parts.board
    board.models.clear()
    for saved in snapshot["models"]:
        model = _restored(saved, board.rules.models.get(saved["id"]))
        board.models[model.id] = model
    for saved in snapshot["waiters"]:
        board.add_waiter(Waiter(**saved))
    for saved in snapshot["leases"]:
        board.add_lease(Lease(**saved))
    for saved in snapshot["models"]:
        board.models[saved["id"]].parking = Parking(**saved["parking"])
    for saved in snapshot["plans"]:
        plan = Plan(saved["target"], saved["number"], set(saved["victims"]))
        board.plans[plan.target] = board.models[plan.target].plan = plan
    claim = snapshot["claim"]
    board.claim = claim and StandingClaim(claim["target"], claim["made"], set(claim["draining"]))
    for model in board.models.values():
        board.refile(model)
    board.unjudged = {ModelId(name) for name in snapshot["unjudged"]}
    board.closing, board.arrivals = snapshot["closing"], snapshot["arrivals"]
    parts.steps.generations, parts.steps.leases = snapshot["generations"], snapshot["granted"]
    parts.room.plans_made = snapshot["plans_made"]
    parts.timers.restore(snapshot["timers"])
    parts.orders.under_way = [_order(saved) for saved in snapshot["orders"]]
    board.rules.policy.restore(snapshot["policy"])
    board.rules.eviction.restore(snapshot["eviction"])


def _model(model: ModelState) -> dict[str, Any]:
    return {
        "id": model.id,
        "order": model.order,
        "phase": str(model.phase),
        "rule": asdict(model.rule),
        **{name: getattr(model, name) for name in _PLAIN},
        **{name: _finite(getattr(model, name)) for name in _TIMERS},
        "owed": list(model.owed),
        "blocked_by": sorted(model.blocked_by),
        "displaced": sorted(model.displaced),
        "failures": asdict(model.failures),
        "service": asdict(model.service),
        "swap": asdict(model.swap),
        "parking": asdict(model.parking),
    }


def _restored(saved: Snapshot, rule: ModelRule | None) -> ModelState:
    model = ModelState(saved["id"], rule or ModelRule(**saved["rule"]), saved["order"], Phase(saved["phase"]))
    for name in _PLAIN:
        setattr(model, name, saved[name])
    for name in _TIMERS:
        setattr(model, name, _time(saved[name]))
    model.owed = dict.fromkeys(saved["owed"])
    model.blocked_by = frozenset(saved["blocked_by"])
    model.displaced = frozenset(saved.get("displaced", ()))
    model.failures = FailureAccount(**saved["failures"])
    model.service = Learned(**saved["service"])
    model.swap = Learned(**saved["swap"])
    return model


def _order(saved: Snapshot) -> Order:
    return Order(**{**saved, "reason": StopReason(saved["reason"]), "cut_at": _time(saved["cut_at"])})


def _plain(value: Any) -> dict[str, Any]:
    found = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    return {name: _copied(entry) for name, entry in found.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, StopReason):
        return str(value)
    if isinstance(value, dict | list):
        return value.copy()
    return value


def _finite(when: float) -> float | None:
    return None if when == NEVER else when


def _time(when: float | None) -> float:
    return NEVER if when is None else when
