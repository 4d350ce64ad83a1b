"""The elementary steps of the scheduler: the only code that changes a phase, a queue or a lease.

Each step keeps the board's indexes right and writes down the effects that go with it. Deciding *whether* to
take a step is up to ``core.py``, ``room.py`` and ``orders.py``. ``now`` and ``out`` are set by the core for
the event in hand.
"""

from protocol.ids import CallId, ModelId, Refusal, lease_id
from supervisor.scheduler import effects as do
from supervisor.scheduler.accounts import Accounts
from supervisor.scheduler.board import Board
from supervisor.scheduler.phases import Phase, next_phase
from supervisor.scheduler.state import Lease, ModelState, Waiter
from supervisor.scheduler.timers import Timer, Timers


class Steps:
    """Changes ``board`` and collects effects in ``out``. ``now``: seconds of the core's clock."""

    def __init__(self, board: Board, timers: Timers, instance: str) -> None:
        self.board = board
        self.timers = timers
        self.accounts = Accounts(board, self.note)
        self.out: list[do.Effect] = []
        self.now = 0.0
        self._instance = instance
        self.generations = 0
        self.leases = 0

    def begin(self, now: float) -> list[do.Effect]:
        """A new event at ``now``; the list collects its effects."""
        self.now = now
        self.out = []
        self.board.moved.clear()
        return self.out

    def note(self, text: str, level: str = "info") -> None:
        """One line for the log."""
        self.out.append(do.Note(text, level))

    def move(self, model: ModelState, cause: type) -> None:
        """Follow the phase table; ``IllegalTransition`` leaves everything as it was."""
        model.phase = next_phase(model.phase, cause)
        self.board.moved.append(model.id)
        self.board.refile(model)
        self.board.stir()

    def start(self, model: ModelState) -> None:
        """A new generation."""
        self.move(model, do.StartModel)
        self.generations += 1
        model.generation = self.generations
        model.starts += 1
        model.ready_at = None
        model.stop_asked = False
        model.ordered = False
        self.out.append(do.StartModel(model.id, model.generation))

    def stop(self, model: ModelState, reason: do.StopReason) -> None:
        """Ask the running generation to stop; its exit comes as an event."""
        self.move(model, do.StopModel)
        model.stop_asked = True
        self.out.append(do.StopModel(model.id, model.generation, reason))

    def forget_if_retired(self, model: ModelState) -> None:
        """A removed model goes as soon as nothing of it runs."""
        if model.retired and model.phase in (Phase.STOPPED, Phase.BACKING_OFF):
            del self.board.models[model.id]

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait; it has a place in the queue and a time limit from now on."""
        model = self.board.models[waiter.model]
        first = not model.waiting
        self.board.add_waiter(waiter)
        self.accounts.arrived(waiter)
        self.board.refile(model)
        if first and model.phase is Phase.STARTING:
            self.board.stirred = True
        if model.phase is Phase.READY and model.free <= 0:
            self.recall(model, len(model.waiting) - model.free)
        if waiter.deadline < model.deadline_timer:
            model.deadline_timer = waiter.deadline
            self.timers.set(waiter.deadline, Timer.QUEUE_DEADLINE, model.id)

    def withdraw(self, waiter: Waiter) -> None:
        """Take a request out of the queue."""
        model = self._take_out(waiter, waiter.call)
        self.accounts.left(waiter)
        if not model.waiting and not model.leases:
            self.board.stir(idle=model.id)
            self.watch_ttl(model)

    def _take_out(self, waiter: Waiter, owed: CallId) -> ModelState:
        """``owed``: what it settles of that which the model owes."""
        model = self.board.models[waiter.model]
        self.board.remove_waiter(waiter)
        if model.owed:
            model.owed.pop(owed, None)
            if not model.owed:
                self.board.stir()
        self.board.refile(model)
        return model

    def serve(self, model: ModelState, count: int) -> None:
        """Give ``count`` waiting requests of a ready model their leases, fewer if fewer wait or are free."""
        for _ in range(min(count, model.free, len(model.waiting))):
            self.grant(self.accounts.next_of(model))

    def answer_loads(self, model: ModelState) -> None:
        """It is ready, now or again: that is all that these wanted."""
        for waiter in list(model.loads.values()):
            self.withdraw(waiter)
            self.answer(waiter.call)

    def grant(self, waiter: Waiter) -> None:
        """Give a waiting request its lease."""
        assert waiter.worker is not None
        model = self.board.models[waiter.model]
        # A grant out of turn settles what is owed as well as any: the model shall serve so many, whoever they are.
        settled = waiter.call if waiter.call in model.owed else next(reversed(model.owed), waiter.call)
        self._take_out(waiter, settled)
        self.leases += 1
        number = lease_id(self._instance, self.leases)
        parkable = self._parkable(model)
        lease = Lease(number, waiter.call, model.id, model.generation, waiter.worker, self.now, parkable)
        self.board.add_lease(lease)
        self.accounts.granted(waiter, number)
        self.board.refile(model)
        self.out.append(do.Grant(waiter.call, waiter.worker, number, model.id, model.generation, parkable))

    def _parkable(self, model: ModelState) -> bool:
        """May the worker keep it? Not while anybody would have to ask for it back at once."""
        rules = self.board.rules
        wanted = model.waiting or self.board.blocked or self.board.claim
        return rules.parking and rules.policy.parks and not wanted

    def recall(self, model: ModelState, count: int | None = None) -> None:
        """Ask for parkable leases back, ``count`` or every one.

        Every worker that has some is asked for as many: nobody knows here whose are idle. What was asked back
        before does not count: it is in use, or it would be here.
        """
        parking = model.parking
        missing = len(model.leases) if count is None else count
        for worker, reusable in list(parking.reusable.items()):
            asked = min(missing, reusable)
            if asked > 0:
                self.out.append(do.Recall(worker, model.id, model.generation, asked))
                parking.asked = self.now
                parking.recalled += asked
                parking.reusable[worker] -= asked
                if not parking.reusable[worker]:
                    del parking.reusable[worker]

    def refuse(self, waiter: Waiter, refusal: Refusal, text: str, retry_after: float | None = None) -> None:
        """End a waiting request, or a waiting load, without success."""
        self.withdraw(waiter)
        if waiter.worker is None:
            self.out.append(do.Answer(waiter.call, refusal, text))
        else:
            self.out.append(do.Refuse(waiter.call, waiter.worker, refusal, text, retry_after))

    def refuse_all(self, model: ModelState, refusal: Refusal, text: str, retry_after: float | None = None) -> None:
        """End everything that waits for a model at this moment."""
        for waiter in list(model.waiting.values()):
            self.refuse(waiter, refusal, text, retry_after)

    def end_lease(self, lease: Lease, last_used: float) -> None:
        """The one end of a lease, whatever brought it about."""
        model = self.board.models[lease.model]
        self.board.remove_lease(lease)
        self.accounts.ended(lease, last_used)
        if not lease.parkable:
            model.service.learn(last_used - lease.granted)
        model.last_used = max(model.last_used, last_used)
        self.board.refile(model)
        if not model.leases:
            self.board.stir(idle=model.id)
            self.watch_ttl(model)

    def watch_ttl(self, model: ModelState) -> None:
        """Look again when an idle model's time to live is over; a later entry than the one there is never needed."""
        if model.rule.ttl <= 0 or model.phase is not Phase.READY:
            return
        over = self.idle_since(model) + model.rule.ttl
        if over < model.ttl_timer:
            model.ttl_timer = over
            self.timers.set(over, Timer.TTL, model.id)

    @staticmethod
    def idle_since(model: ModelState) -> float:
        """When its time to live began: ready or last use, whichever is later."""
        return max(model.last_used, model.ready_at or 0.0)

    def cut(self, model: ModelState) -> None:
        """Make the workers end every exchange of a model; the leases end as they report it, or at its exit."""
        for lease in model.leases.values():
            self.out.append(do.Cut(lease.worker, lease.id))

    def answer(self, call: CallId, refusal: Refusal | None = None, text: str = "") -> None:
        """End a control question."""
        self.out.append(do.Answer(call, refusal, text))

    def pid_text(self, model: ModelId) -> str:
        """How people are told of a model that does not die."""
        pid = self.board.models[model].stuck_pid
        return f"model {model!r} does not end (pid {pid} survived SIGKILL)"

    def backing_off(self, model: ModelState) -> tuple[Refusal, str, float]:
        """How people are told of a pause; the last part is the seconds left."""
        left = max(0.0, model.failures.paused_until - self.now)
        text = f"model {model.id!r} failed: {model.failures.last_reason}; next attempt in {left:.0f} s"
        return Refusal.BACKING_OFF, text, left
