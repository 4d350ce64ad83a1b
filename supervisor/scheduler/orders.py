"""Orders to stop: unload, drain, reload and shutdown, each kept until the last of its models has stopped.

An order either stops its models at once (``force``) or lets their leases end first, at most until ``cut_at``.
Nothing waits here: an order ends with ``Answer`` when ``ModelExited`` comes. Called by ``core.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.ids import CallId, ModelId, Refusal
from supervisor.scheduler import events as ev
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.phases import DrainBegun, Phase
from supervisor.scheduler.state import NEVER, ModelState, Rules
from supervisor.scheduler.steps import Steps
from supervisor.scheduler.timers import Timer


@dataclass(slots=True)
class Order:
    """Stop these generations. ``call`` None: nobody asked for an answer. ``cut_at``: seconds of the core's clock.

    A later generation of the same model is none of its business.
    """

    pending: dict[ModelId, int]
    reason: StopReason
    call: CallId | None = None
    force: bool = False
    cut_at: float = NEVER
    stuck: list[str] = field(default_factory=list)
    """What to say of those that do not die."""


class Orders:
    """The orders under way. Bounded: one for each open control question, one for a reload, one for shutdown."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._board = steps.board
        self.under_way: list[Order] = []

    def unload_asked(self, event: ev.UnloadAsked) -> None:
        """Stop models at once, or after their leases."""
        names = self._board.models if event.models is None else event.models
        models = [self._board.models[name] for name in names if name in self._board.models]
        if not event.drain:
            for model in models:
                self._steps.refuse_all(model, Refusal.UNLOADED, f"model {model.id!r} was unloaded")
        reason = StopReason.DRAINED if event.drain else StopReason.UNLOADED
        self.give(Order(_generations(models), reason, event.call, force=not event.drain))

    def shutdown_asked(self, event: ev.ShutdownAsked) -> None:
        """Refuse everybody who waits, let leases end within the grace."""
        cut_at = self._steps.now + event.grace
        if self._board.closing:
            self.hurry(cut_at)
        self._board.closing = True
        for model in self._board.models.values():
            self._steps.refuse_all(model, Refusal.SHUTTING_DOWN, "swapyard is shutting down")
        pending = _generations(self._board.models.values())
        self.give(Order(pending, StopReason.SHUTDOWN, event.call, cut_at=cut_at))

    def rules_changed(self, event: ev.RulesChanged) -> None:
        """Take over new rules; removed and changed models drain."""
        rules: Rules = event.rules
        _keep_accounts(self._board.rules, rules)
        self._board.rules = rules
        kept = self._board.models
        removed = [name for name in kept if name not in rules.models]
        for order, name in enumerate(removed, len(rules.models)):
            kept[name].retired = True
            kept[name].order = order
            self._steps.refuse_all(kept[name], Refusal.UNKNOWN_MODEL, "there is no such model any more")
        for order, (name, rule) in enumerate(rules.models.items()):
            model = kept.setdefault(name, ModelState(name, rule, order))
            model.rule, model.order, model.retired = rule, order, False
            self._steps.watch_ttl(model)
        in_order = sorted(kept.values(), key=lambda model: model.order)
        self._board.models = kept = {model.id: model for model in in_order}
        for name in removed:
            self._steps.forget_if_retired(kept[name])
        for model in kept.values():
            self._board.refile(model)
            self._recall_beyond(model, rules)
        self._board.stir()
        pending = _generations(model for model in kept.values() if model.retired or model.id in event.changed)
        if pending:
            self.give(Order(pending, StopReason.RELOADED, cut_at=self._steps.now + event.drain_timeout))

    def _recall_beyond(self, model: ModelState, rules: Rules) -> None:
        """What new rules leave no place for: kept leases at all, or more of them than the limit lets who waits have."""
        if not (rules.parking and rules.policy.parks):
            self._steps.recall(model)
        elif model.waiting and model.phase is Phase.READY and model.free < len(model.waiting):
            self._steps.recall(model, len(model.waiting) - model.free)

    def give(self, order: Order) -> None:
        """Begin an order; ``review`` carries it on after each event."""
        self.under_way.append(order)
        if order.cut_at != NEVER:
            self._steps.timers.set(order.cut_at, Timer.ORDER)

    def hurry(self, cut_at: float) -> None:
        """Bring the end of all drains forward, for shutdown."""
        for order in self.under_way:
            order.cut_at = min(order.cut_at, cut_at)
            order.reason = StopReason.SHUTDOWN
        self._steps.timers.set(cut_at, Timer.ORDER)

    def review(self) -> None:
        """Take every step that is possible now, and end the orders that are done."""
        for order in list(self.under_way):
            for name in list(order.pending):
                model = self._board.models.get(name)
                if model is None or model.generation != order.pending[name] or self._advance(order, model):
                    del order.pending[name]
            if not order.pending:
                self.under_way.remove(order)
                self._answer(order)

    def __len__(self) -> int:
        return len(self.under_way)

    def _advance(self, order: Order, model: ModelState) -> bool:
        """One model's part in an order; True when it is over."""
        if model.phase is Phase.STUCK:
            order.stuck.append(self._steps.pid_text(model.id))
            return True
        if order.force or order.cut_at <= self._steps.now:
            self._stop_now(order, model)
        else:
            self._drain(order, model)
        return model.phase in (Phase.STOPPED, Phase.BACKING_OFF, Phase.MAKING_ROOM)

    def _stop_now(self, order: Order, model: ModelState) -> None:
        if model.phase in (Phase.STARTING, Phase.READY, Phase.DRAINING):
            self._steps.cut(model)
            self._steps.stop(model, order.reason)

    def _drain(self, order: Order, model: ModelState) -> None:
        if model.phase is Phase.READY:
            self._steps.move(model, DrainBegun)
        if model.phase is Phase.DRAINING and not model.ordered:
            model.ordered = True
            self._steps.recall(model)
        idle = not model.leases and model.phase is Phase.DRAINING
        unwanted = not model.waiting and model.phase is Phase.STARTING
        if idle or unwanted:
            self._steps.stop(model, order.reason)

    def _answer(self, order: Order) -> None:
        if order.call is None:
            return
        if order.stuck:
            self._steps.answer(order.call, Refusal.STUCK, "; ".join(order.stuck))
        else:
            self._steps.answer(order.call)


def _keep_accounts(old: Rules, new: Rules) -> None:
    """What a policy or a rule has learned outlives a change of its settings."""
    if old.policy.name == new.policy.name:
        new.policy.restore(old.policy.snapshot())
    if old.eviction.name == new.eviction.name:
        new.eviction.restore(old.eviction.snapshot())


def _generations(models: Iterable[ModelState]) -> dict[ModelId, int]:
    return {model.id: model.generation for model in models}
