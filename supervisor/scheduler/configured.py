"""From what a configuration says to the rules that a core decides by.

``config/types.py`` satisfies the protocols here without being known here. Called by the supervisor when a
configuration is taken over, and by the simulator: both decide by the same rules.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Declared, SettingProblem
from supervisor.scheduler.registry import Asked, build
from supervisor.scheduler.state import ModelRule, Rules


class Limited(Declared, Protocol):
    """One configured model with its limits. Times in seconds."""

    @property
    def concurrency_limit(self) -> int:
        """Most leases at once."""
        ...

    @property
    def queue_limit(self) -> int:
        """Most requests waiting beyond that."""
        ...

    @property
    def queue_timeout(self) -> float:
        """How long a request may wait."""
        ...

    @property
    def ttl(self) -> float:
        """Idle time before it is stopped; 0: never."""
        ...


class Configured(Protocol):
    """A whole configuration, as far as the scheduler is concerned."""

    @property
    def models(self) -> Mapping[str, Limited]:
        """In the order of the file."""
        ...

    @property
    def routing(self) -> Asked:
        """Which policy and which eviction rule decide."""
        ...


class RulesRefused(Exception):
    """A policy or eviction rule does not accept its settings; the text has a line for each problem."""

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        super().__init__("\n".join(f"{problem.path}: {problem.text}" for problem in problems))
        self.problems = tuple(problems)

    @classmethod
    def of(cls, text: str) -> Self:
        """The same for a text that says all there is to say."""
        refused = cls(())
        refused.args = (text,)
        return refused


def rules_of(settings: Configured, *, parking: bool = True) -> Rules:
    """What the scheduler core decides by; ``RulesRefused`` if a part does not accept its settings."""
    built = build(settings.routing, {ModelId(name): model for name, model in settings.models.items()})
    if built.problems or built.policy is None or built.eviction is None:
        raise RulesRefused(built.problems)
    # Only budgets know what pinned means; sets and groups say themselves who may run beside whom.
    pins = settings.routing.eviction not in ("group", "matrix")
    models = {ModelId(name): model_rule(model, pins=pins) for name, model in settings.models.items()}
    return Rules(models, built.policy, built.eviction, parking=parking)


def model_rule(model: Limited, *, pins: bool = False) -> ModelRule:
    """Limits of one model (design.md section 8: admitted are limit plus queue)."""
    return ModelRule(
        limit=model.concurrency_limit,
        queue_limit=model.queue_limit,
        queue_timeout=model.queue_timeout,
        ttl=model.ttl,
        pinned=pins and model.pinned,
    )
