"""Reload by difference: the files are read again, and only what changed is touched.

A bad file changes nothing and says why. Triggers that come while one is under way are one more reload, the last
state of the files wins. An asker is answered when every worker has adopted the new catalogue. The scheduler
drains and restarts (``RulesChanged``). Called by ``app.py`` (SIGHUP, ``watch.py``) and ``questions.py``
(``swapctl reload``).
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from config.check import Loaded, load
from config.diff import Change, Difference, difference
from config.errors import Severity
from config.sources import Sources
from config.types import Settings
from protocol.control import Failed, ReloadReply, ReloadRow, Reply
from protocol.ids import ModelId
from supervisor.scheduler.configured import RulesRefused, rules_of
from supervisor.scheduler.events import RulesChanged
from supervisor.scheduler.phases import RUNNING
from supervisor.scheduler.state import Rules

log = logging.getLogger("swapyard.reload")

LONGEST_WAIT = 10.0
"""Seconds that workers get to adopt a catalogue before the asker is answered all the same."""
HALF_WRITTEN = "it has no 'models', as if it were being written just now; to serve none, say 'models: {}'"
"""Of a file that an editor has emptied and not yet filled: every model would be removed."""
Answerer = Callable[[Reply], None]


class Target(Protocol):
    """What a reload changes (``wiring.App``)."""

    settings: Settings

    def phase(self, model: ModelId) -> str:
        """Where a model stands; ``stopped`` if there is none."""
        ...

    def take_over(self, settings: Settings, event: RulesChanged) -> None:
        """Make these the settings, tell the scheduler and the workers."""
        ...

    async def wait_adopted(self) -> None:
        """Until every worker answers from the present catalogue."""
        ...


class Reload:
    """One reload at a time. ``sources``: where the configuration comes from."""

    def __init__(self, sources: Sources, target: Target) -> None:
        self._sources = sources
        self._target = target
        self._wanted = trio.Event()
        self._askers: list[tuple[bool, Answerer]] = []

    def ask(self, dry_run: bool, answer: Answerer) -> None:
        """Reload soon, or say what a reload would do; ``answer`` is called once."""
        self._askers.append((dry_run, answer))
        self._wanted.set()

    def trigger(self) -> None:
        """Reload soon; the log says what came of it."""
        self.ask(False, lambda _: None)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            askers, self._askers = self._askers, []
            for_real = any(not dry_run for dry_run, _ in askers)
            reply = await self._reload(for_real=for_real)
            for dry_run, answer in askers:
                answer(_as_dry_run(reply) if dry_run else reply)

    async def _reload(self, *, for_real: bool) -> Reply:
        old = self._target.settings
        running = {name: port for name, port in old.ports.items() if self._runs(name)}
        loaded = await trio.to_thread.run_sync(partial(load, self._sources, ports=running))
        try:
            settings, rules = _accepted(loaded)
            if old.models and "models" not in loaded.places:
                raise RulesRefused.of(HALF_WRITTEN)
        except RulesRefused as refused:
            text = str(refused)
            log.error("the configuration is not taken over, nothing has changed:\n%s", text)  # noqa: TRY400 (says all)
            return Failed(code="bad_config", text=f"nothing has changed:\n{text}")
        found = difference(old, settings)
        reply = self._reply(found, settings)
        if for_real:
            changed = frozenset(ModelId(name) for name in found.restarting)
            self._target.take_over(settings, RulesChanged(rules, changed, settings.reload_drain_timeout))
            log.info("the configuration is taken over: %s", _summary(found))
            with trio.move_on_after(LONGEST_WAIT):
                await self._target.wait_adopted()
        return reply

    def _runs(self, name: str) -> bool:
        return self._target.phase(ModelId(name)) in {str(phase) for phase in RUNNING}

    def _reply(self, found: Difference, settings: Settings) -> ReloadReply:
        rows = [
            ReloadRow(
                model=ModelId(entry.model),
                change=str(entry.change),
                what=entry.what,
                phase=self._target.phase(ModelId(entry.model)),
                effect=self._effect(entry.model, entry.change, settings.reload_drain_timeout),
            )
            for entry in found.models
        ]
        return ReloadReply(rows=tuple(rows), sections=found.sections)

    def _effect(self, name: str, change: Change, drain: float) -> str:
        runs = self._runs(name)
        match change:
            case Change.RESTART if runs:
                return f"finishes what it does, {drain:g} s at most; starts again on its next request"
            case Change.REMOVED if runs:
                return f"finishes what it does, {drain:g} s at most; who waits is refused"
            case Change.REMOVED:
                return "is gone"
            case Change.ADDED:
                return "starts on its first request"
            case Change.IN_PLACE if runs:
                return "goes on running"
        return "counts from its next start on"


def _accepted(loaded: Loaded) -> tuple[Settings, Rules]:
    """Settings and rules, or ``RulesRefused`` with a line for each problem."""
    errors = [problem for problem in loaded.problems if problem.severity is Severity.ERROR]
    if loaded.settings is None:
        raise RulesRefused.of("\n".join(map(str, errors)))
    try:
        return loaded.settings, rules_of(loaded.settings)
    except RulesRefused as refused:
        lines = [str(loaded.error(problem.path, problem.text)) for problem in refused.problems]
        raise RulesRefused.of("\n".join(lines)) from None


def _as_dry_run(reply: Reply) -> Reply:
    if isinstance(reply, ReloadReply):
        return ReloadReply(rows=reply.rows, sections=reply.sections, dry_run=True)
    return reply


def _summary(found: Difference) -> str:
    parts = [f"{entry.model} {entry.change}" for entry in found.models]
    return ", ".join([*parts, *found.sections]) or "nothing is different"
