"""Tests of the scheduler as a dialogue: an event in, the effects that must come out, a diff on mismatch.

``Play(core)`` keeps virtual time. ``>>`` gives an event, ``<<`` lists every effect of it except ``Note`` and
``WakeAt``, which only count when they are named. The invariants are checked after each event.
"""

from typing import Any, Self

from config.sets import compile_sets
from protocol.ids import CallId, LeaseId, ModelId, Refusal, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.contracts import Policy
from supervisor.scheduler.core import Core
from supervisor.scheduler.evictions.group import Group, Groups
from supervisor.scheduler.evictions.matrix import Matrix
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.invariants import check
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules

WORKER = WorkerId("0.1.w")
_ASIDE = (do.Note, do.WakeAt)


def rules_for(
    *models: str,
    groups: dict[str, Group] | None = None,
    policy: Policy | None = None,
    parking: bool = False,
    **rule: Any,
) -> Rules:
    """Rules with ``fifo`` and ``group`` for these models; ``rule`` goes to each ``ModelRule``."""
    membership = {ModelId(name): group for name, group in (groups or {}).items()}
    return Rules(
        models={ModelId(name): ModelRule(**rule) for name in models},
        policy=policy or Fifo(),
        eviction=Groups(membership),
        parking=parking,
    )


def matrix_rules(sets: dict[str, str], models: str, max_wait: float = 60.0) -> Rules:
    """Rules with ``fifo`` and ``matrix`` for models of one letter."""
    program, problems = compile_sets(sets, {}, list(models))
    assert not problems
    return Rules({ModelId(name): ModelRule() for name in models}, Fifo(max_wait), Matrix(program))


def memory_rules(needs: dict[str, int], budget: int, max_wait: float = 60.0) -> Rules:
    """Rules with ``fifo`` and ``memory`` for one device."""
    takes = {ModelId(name): {"gpu": amount} for name, amount in needs.items()}
    return Rules({model: ModelRule() for model in takes}, Fifo(max_wait), Memory({"gpu": budget}, takes))


class Play:
    """One dialogue. ``now`` is virtual time in seconds; ``mistakes``: of a policy or rule, are part of it."""

    def __init__(self, rules: Rules, *, mistakes: bool = False) -> None:
        self.core = Core(rules, "i")
        self.now = 100.0
        self.last: list[do.Effect] = []
        self._mistakes = mistakes

    def __rshift__(self, event: ev.Event) -> Self:
        self.last = self.core.handle(event, self.now)
        check(self.core.board, self.last)
        for effect in self.last:
            noted = isinstance(effect, do.Note) and effect.level == "error" and "SIGKILL" not in effect.text
            assert self._mistakes or not noted, effect
        return self

    def __lshift__(self, expected: list[do.Effect]) -> Self:
        named = {type(effect) for effect in expected}
        seen = [effect for effect in self.last if not isinstance(effect, _ASIDE) or type(effect) in named]
        wanted = "\n".join(map(repr, expected))
        got = "\n".join(map(repr, seen))
        assert seen == expected, f"\nexpected:\n{wanted}\ngot:\n{got}"
        return self

    def after(self, seconds: float) -> Self:
        """Let time pass; wake the core if it asked for it."""
        self.now += seconds
        return self >> ev.DeadlineReached()

    # Short names for what most dialogues are about.

    def ask(self, call: str, model: str, worker: WorkerId = WORKER) -> Self:
        """A request arrives."""
        return self >> ev.RequestArrived(CallId(call), ModelId(model), worker)

    def ready(self, model: str, generation: int) -> Self:
        """A start succeeds."""
        return self >> ev.ModelReady(ModelId(model), generation)

    def exited(self, model: str, generation: int, reason: str = "exited with status 0") -> Self:
        """A process has ended."""
        return self >> ev.ModelExited(ModelId(model), generation, reason)

    def release(self, number: int) -> Self:
        """The ``number``-th lease ends."""
        return self >> ev.LeaseReleased(LeaseId(f"i/L{number}"), self.now)

    def reload(self, rules: Rules, *changed: str, drain_timeout: float = 300.0) -> Self:
        """New rules; ``changed`` models have to restart to follow them."""
        return self >> ev.RulesChanged(rules, frozenset(map(ModelId, changed)), drain_timeout)


def running_a(**rule: Any) -> Play:
    """Model a is ready (generation 1) and serves call r1 under lease 1; b and c have never run."""
    play = Play(rules_for("a", "b", "c", **rule))
    play.ask("r1", "a") << [start("a", 1)]
    return play.ready("a", 1) << [grant("r1", 1, "a", 1)]


def refused(play: Play) -> list[tuple[str, Refusal]]:
    """Who was refused by the last event, and how."""
    return [(effect.call, effect.refusal) for effect in play.last if isinstance(effect, do.Refuse)]


def phase(play: Play, model: str) -> Phase:
    """Where a model stands."""
    return play.core.board.models[ModelId(model)].phase


def start(model: str, generation: int) -> do.StartModel:
    """The effect, in short."""
    return do.StartModel(ModelId(model), generation)


def stop(model: str, generation: int, reason: do.StopReason = do.StopReason.EVICTED) -> do.StopModel:
    """The effect, in short."""
    return do.StopModel(ModelId(model), generation, reason)


def grant(
    call: str, lease: int, model: str, generation: int, worker: WorkerId = WORKER, *, parkable: bool = False
) -> do.Grant:
    """The effect, in short."""
    return do.Grant(CallId(call), worker, LeaseId(f"i/L{lease}"), ModelId(model), generation, parkable)
