"""Questions to the supervisor and its replies: the control socket's protocol, also used by workers' ``Ask``.

Backward compatible by rule: a field is only ever added, with a default; a verb or reply is never renamed
or given another meaning. Unknown fields are ignored. ``CONTROL_VERSION`` rises when a verb is added, and a
supervisor answers a verb it does not know with ``Failed(code="unknown_verb")``.
"""

from typing import Literal

from msgspec import Struct

from protocol.ids import CallId, ModelId

CONTROL_VERSION = 3


class ControlMessage(Struct, frozen=True, kw_only=True, tag=True):
    """Base of verbs, replies and events; the tag is the class name."""


# ------------------------------------------------------------------ verbs


class Status(ControlMessage, frozen=True):
    """Everything ``swapctl status`` shows. Reply: ``StatusReply``."""


class Unload(ControlMessage, frozen=True):
    """Stop models (none named: all). ``drain``: refuse nobody, wait for the leases. Reply: ``Done`` once stopped."""

    models: tuple[str, ...] = ()
    drain: bool = False


class Load(ControlMessage, frozen=True):
    """Bring a model to ready, as a request would. Reply: ``Done`` when it is."""

    model: str


class Reset(ControlMessage, frozen=True):
    """Forget a model's failures and its pause. Reply: ``Done``."""

    model: str


class Logs(ControlMessage, frozen=True):
    """The kept output of a model. Reply: ``LogsReply``; what comes later arrives as ``LogLines`` events."""

    model: str


class Queue(ControlMessage, frozen=True):
    """Who waits, for what. Reply: ``QueueReply``."""


class Explain(ControlMessage, frozen=True):
    """What one call waits for. ``call``: its id, or the end of it if only one call ends so. Reply: ``ExplainReply``."""

    call: str


class Reload(ControlMessage, frozen=True):
    """Read the configuration again and take over what changed. Reply: ``ReloadReply`` when every worker has it."""

    dry_run: bool = False
    """Only say what would happen."""


class Record(ControlMessage, frozen=True):
    """Record what reaches the scheduler, and what it decides. Since version 3. Reply: ``RecordReply``."""

    action: Literal["start", "stop", "status"]
    path: str = ""
    """Absolute; the supervisor writes the file, mode 0600."""
    most: int = 256 * 1024 * 1024
    """Bytes; the recording ends before the file has more."""
    hash_names: bool = False
    overwrite: bool = False
    """Replace a file that is there."""


Verb = Status | Unload | Load | Reset | Logs | Queue | Explain | Reload | Record

# ------------------------------------------------------------------ replies


class ModelStatus(Struct, frozen=True, kw_only=True):
    """One model now. Times in seconds."""

    id: ModelId
    phase: str
    generation: int | None = None
    pid: int | None = None
    upstream: str = ""
    uptime: float | None = None
    """Since ready."""
    leases: int = 0
    waiting: int = 0
    limit: int = 0
    ttl: float = 0.0
    ttl_left: float | None = None
    starts: int = 0
    last_failure: str = ""
    retry_in: float | None = None
    name: str = ""
    description: str = ""
    cmd: str = ""
    unlisted: bool = False


class WorkerStatus(Struct, frozen=True, kw_only=True):
    """One worker slot now. ``pid`` is None while it is being replaced."""

    slot: int
    pid: int | None
    uptime: float = 0.0
    leases: int = 0
    waiting: int = 0
    restarts: int = 0
    messages: int = 0
    """What it has said to the supervisor. A hot model costs no message for a request."""


class StatusReply(ControlMessage, frozen=True):
    """State of the whole; ``swaps`` counts starts that had to evict."""

    instance: str
    version: str
    pid: int
    uptime: float
    listen: str
    revision: int
    models: tuple[ModelStatus, ...]
    workers: tuple[WorkerStatus, ...]
    starts: int = 0
    swaps: int = 0
    shutting_down: bool = False


class LogsReply(ControlMessage, frozen=True):
    """Kept lines; ``first`` is the number of ``lines[0]`` (numbers rise by one for each line of this model)."""

    model: ModelId
    first: int
    lines: tuple[str, ...]


class QueueRow(Struct, frozen=True, kw_only=True):
    """One waiting request. Times in seconds."""

    call: CallId
    model: ModelId
    phase: str
    """Of its model."""
    caller: str = ""
    """Empty for a load."""
    position: int = 0
    """From 1, among those who wait for the same model."""
    waited: float = 0.0
    left: float | None = None
    """Until it is refused; None: never."""
    estimate: float = 0.0
    """Until it is granted, as far as that can be known."""
    waits_for: str = ""
    """The first of its blockers."""


class QueueReply(ControlMessage, frozen=True):
    """The oldest waiting requests; ``total`` counts all of them."""

    rows: tuple[QueueRow, ...]
    total: int


class BlockerRow(Struct, frozen=True, kw_only=True):
    """One thing that has to happen first. ``left``: seconds, if a timer decides."""

    kind: str
    model: ModelId
    text: str
    left: float | None = None


class ExplainReply(ControlMessage, frozen=True):
    """Why a call waits; no blockers: it has its ``lease``."""

    row: QueueRow
    blockers: tuple[BlockerRow, ...] = ()
    lease: str | None = None


class ReloadRow(Struct, frozen=True, kw_only=True):
    """One model that does not stay as it is."""

    model: ModelId
    change: str
    """added, removed, restart, in place"""
    what: tuple[str, ...] = ()
    phase: str = ""
    effect: str = ""


class ReloadReply(ControlMessage, frozen=True):
    """What a reload does or did; ``sections``: top-level keys that changed."""

    rows: tuple[ReloadRow, ...]
    sections: tuple[str, ...] = ()
    dry_run: bool = False


class RecordReply(ControlMessage, frozen=True):
    """The recording under way, or the last one. ``path`` is empty if there was none. Times in seconds."""

    active: bool
    path: str = ""
    events: int = 0
    bytes: int = 0
    most: int = 0
    seconds: float = 0.0
    hashed: bool = False
    failed: bool = False
    """It ended, and nobody asked for that."""
    text: str = ""
    """How it ended."""


class Done(ControlMessage, frozen=True):
    """It is so now."""

    text: str = ""


class Failed(ControlMessage, frozen=True):
    """It is not so. ``code``: unknown_model, unknown_call, unknown_verb, malformed, busy, bad_config, cannot_record,
    not_recording, or a ``Refusal``.

    The text is for people.
    """

    code: str
    text: str


Reply = StatusReply | LogsReply | QueueReply | ExplainReply | ReloadReply | RecordReply | Done | Failed

# ------------------------------------------------------------------ frames of the control socket


class Question(Struct, frozen=True, kw_only=True):
    """What a control client sends. ``call`` is chosen by the client."""

    version: int
    call: CallId
    verb: Verb


class Response(Struct, frozen=True, kw_only=True):
    """What it gets back."""

    version: int
    call: CallId
    reply: Reply


# ------------------------------------------------------------------ events (PUB socket)


class LogLines(ControlMessage, frozen=True):
    """New output of a model; topic ``log/<model>``. Numbered by line, so a follower sees what it missed."""

    model: ModelId
    first: int
    lines: tuple[str, ...]


class ModelChanged(ControlMessage, frozen=True):
    """A model entered a phase; topic ``models``. ``number`` rises by one for each event of the topic."""

    number: int
    model: ModelId
    phase: str


PublishedEvent = LogLines | ModelChanged


def log_topic(model: ModelId) -> str:
    """The topic that a model's ``LogLines`` are published under."""
    return f"log/{model}"


MODELS_TOPIC = "models"
