"""What is under way outside of the core in a random run, and the promises that its effects have to keep.

``Outstanding`` is told of every event before it is sent, and carries every effect out. It raises
``AssertionError`` for an effect that breaks an invariant of ``supervisor/scheduler/design.md`` which the state
of the core alone cannot show: a request that ends twice, a busy model that is stopped without leave, a start
beside a model that has to go first.
"""

from collections import Counter

from protocol.ids import CallId, LeaseId, ModelId, WorkerId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.board import Board
from supervisor.scheduler.contracts import Evict, Standing
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.phases import Phase

Process = tuple[ModelId, int]

FOR_EVER = 1e9
"""A time limit that must never be what ends a request."""
_IDLE = Standing(Phase.READY, busy=False, last_used=0.0, movable=True)
_NOTES = ("claims room", "drains for it", "plan given up", "parked leases")


class Outstanding:
    """Calls, questions, leases and processes. ``seen`` counts what happened; times in seconds of the run's clock."""

    def __init__(self, seen: Counter[str]) -> None:
        self.seen = seen
        self.open: set[CallId] = set()
        self.questions: set[CallId] = set()
        self.leases: dict[LeaseId, do.Grant] = {}
        self.parked: dict[LeaseId, float] = {}
        """Kept by a worker since this time; among ``leases`` as well."""
        self.not_reusable: set[LeaseId] = set()
        self.starting: set[Process] = set()
        self.alive: set[Process] = set()
        self.ready: set[Process] = set()
        self.stopping: set[Process] = set()
        self.overdue: set[Process] = set()
        self.wake: float | None = None
        self._cut_at: dict[Process, float] = {}
        """From when on a reload or a shutdown may end its leases."""
        self._forced: frozenset[ModelId] = frozenset()
        """What the event in hand unloads at once."""

    def expect(self, event: ev.Event, now: float, models: list[ModelId]) -> None:
        """Take note of what this event gives the core leave to do. ``models``: all there are."""
        self._forced = frozenset()
        match event:
            case ev.UnloadAsked(drain=False):
                self._forced = frozenset(models if event.models is None else event.models)
            case ev.RulesChanged():
                gone = {name for name in models if name not in event.rules.models} | event.changed
                self._leave({process for process in self.alive if process[0] in gone}, now + event.drain_timeout)
            case ev.ShutdownAsked():
                self._leave(self.alive, now + event.grace)
            case _:
                pass

    def _leave(self, processes: set[Process], when: float) -> None:
        for process in processes:
            self._cut_at[process] = min(self._cut_at.get(process, when), when)

    def carry_out(self, effect: do.Effect, board: Board, now: float) -> None:
        """Do what a shell does; ``board`` is the core's after the event."""
        self.seen[type(effect).__name__] += 1
        match effect:
            case do.StartModel(model, generation):
                self._check_room(model, board)
                self.starting.add((model, generation))
                self.alive.add((model, generation))
            case do.StopModel(model, generation):
                assert (model, generation) in self.alive
                self._check_leave(effect, now)
                self.stopping.add((model, generation))
            case do.Grant():
                assert (effect.model, effect.generation) in self.ready, "granted on a model that is not ready"
                assert (effect.model, effect.generation) not in self.stopping
                self._end_call(effect.call)
                self.leases[effect.lease] = effect
            case do.Refuse():
                assert now < FOR_EVER, "nothing but its time limit ended this request"
                self.seen[f"refused: {effect.refusal}"] += 1
                self._end_call(effect.call)
            case do.Answer():
                self.questions.remove(effect.call)
            case do.WakeAt(when):
                self.wake = when
            case do.Recall():
                self._give_back(effect)
            case do.Note(level="error") if "policy" in effect.text or "eviction rule" in effect.text:
                raise AssertionError(effect.text)
            case do.Note():
                for kind in _NOTES:
                    self.seen[kind] += kind in effect.text
            case _:
                pass

    def _end_call(self, call: CallId) -> None:
        assert call in self.open, "a request ended twice"
        self.open.remove(call)

    def _check_room(self, target: ModelId, board: Board) -> None:
        """Invariant 3: whoever had to go has exited."""
        there = {name for name, _ in self.alive}
        assert target not in there, "started beside its own former process"
        verdict = board.rules.eviction.victims(target, dict.fromkeys(sorted(there), _IDLE), allow_busy=True)
        assert verdict == Evict(), f"{target} started beside {sorted(there)}, which its rule forbids: {verdict}"

    def _check_leave(self, stop: do.StopModel, now: float) -> None:
        """Invariant 2: with leases only by force, or after the drain time of a reload or the grace of a shutdown."""
        process = (stop.model, stop.generation)
        if not self.held_by(process):
            return
        self.seen["stopped with leases"] += 1
        match stop.reason:
            case StopReason.UNLOADED:
                assert stop.model in self._forced, "unloaded by force, and nobody asked for it now"
            case StopReason.RELOADED | StopReason.SHUTDOWN:
                assert self._cut_at[process] <= now, f"{stop} came {self._cut_at[process] - now} s too early"
            case _:
                raise AssertionError(f"{stop} ends leases")

    def held_by(self, process: Process) -> set[LeaseId]:
        """The leases on a process."""
        return {lease for lease, grant in self.leases.items() if (grant.model, grant.generation) == process}

    def _give_back(self, recall: do.Recall) -> None:
        """Idle leases at once, then busy ones are marked: ours takes those that end first, no worse for who waits."""
        mine = [
            lease
            for lease, grant in self.leases.items()
            if (grant.worker, grant.model, grant.generation) == (recall.worker, recall.model, recall.generation)
            and grant.parkable
            and lease not in self.not_reusable
        ]
        mine.sort(key=lambda lease: lease not in self.parked)
        self.not_reusable |= set(mine[: recall.count])

    def end_process(self, process: Process) -> None:
        """It has exited, and its leases with it."""
        for processes in (self.starting, self.alive, self.ready, self.stopping, self.overdue):
            processes.discard(process)
        self.forget(self.held_by(process))

    def lose(self, worker: WorkerId, waiting: set[CallId]) -> None:
        """A worker has exited; ``waiting``: its calls that had no lease yet."""
        self.open -= waiting
        self.forget({lease for lease, grant in self.leases.items() if grant.worker == worker})

    def forget(self, leases: set[LeaseId]) -> None:
        """They have ended without a word from their worker."""
        self.leases = {lease: grant for lease, grant in self.leases.items() if lease not in leases}
        self.parked = {lease: since for lease, since in self.parked.items() if lease not in leases}

    def due_back(self, now: float) -> list[LeaseId]:
        """A worker keeps a lease for a second at most, and gives an idle one back as soon as it is asked to."""
        due = [lease for lease, since in self.parked.items() if lease in self.not_reusable or since + 1.0 <= now]
        return sorted(lease for lease in due if lease in self.leases)
