"""What a gateway worker and the supervisor say to each other. Mirror: ``protocol/control.py`` for tools.

Frozen tagged structs, msgpack on the wire. Times are durations in seconds or ``time.monotonic_ns()``
readings (one clock for all processes of a machine), never a trio clock.
Changing a message is a commit of its own; raise ``VERSION`` with it.
"""

from msgspec import Struct

from protocol.catalogue import Catalogue
from protocol.control import Reply, Verb
from protocol.ids import CallId, LeaseId, ModelId, Refusal

VERSION = 3


class Message(Struct, frozen=True, kw_only=True, tag=True):
    """Base of every wire message; the tag is the class name."""


# ------------------------------------------------------------------ worker -> supervisor


class Hello(Message, frozen=True):
    """First message of a worker."""

    version: int
    slot: int
    pid: int


class CatalogueAdopted(Message, frozen=True):
    """The worker answers from this revision now."""

    revision: int


class Acquire(Message, frozen=True):
    """A request wants a lease. ``name`` is as the client asked; the supervisor resolves it."""

    call: CallId
    name: str
    caller: str
    deadline_in: float | None = None
    wants_progress: bool = False


class Cancel(Message, frozen=True):
    """The caller is gone. After ``Granted`` it counts as ``Release``."""

    call: CallId


class Release(Message, frozen=True):
    """The lease ends: its last exchange has. ``last_used`` is a ``time.monotonic_ns()`` reading."""

    lease: LeaseId
    last_used: int


class Outcome(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """How one exchange ended. Durations in seconds; tokens and tokens/s: -1 is unknown.

    An array on the wire, because a busy worker sends thousands in a second.
    """

    lease: LeaseId | None
    model: ModelId | None
    generation: int = 0
    parkable: bool = False
    """Was its lease one that may be used again?"""
    caller: str
    path: str
    status: int
    error: str = ""
    ended: int = 0
    """A ``time.monotonic_ns()`` reading."""
    bytes_in: int = 0
    bytes_out: int = 0
    queued: float = 0.0
    """From the beginning of the request to the grant, without ``loading``."""
    loading: float = 0.0
    """The part of the wait in which its model was started for it."""
    first_byte: float = 0.0
    """From the grant to the first byte of the answer."""
    total: float = 0.0
    input_tokens: int = -1
    output_tokens: int = -1
    cached_tokens: int = -1
    draft_tokens: int = -1
    draft_accepted: int = -1
    prompt_speed: float = -1.0
    generation_speed: float = -1.0


class Exchanges(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What the scheduler has to learn of exchanges on parkable leases of one generation, which nothing else tells of.

    ``service``: seconds from each grant to the end; ``last_used``: a ``time.monotonic_ns()`` reading.
    """

    model: ModelId
    generation: int
    service: tuple[float, ...]
    last_used: int


class Report(Message, frozen=True):
    """Outcomes of exchanges, in batches. ``lost``: rows dropped since the last one, because nobody read them.

    ``rows`` are ``count`` of ``Outcome``, encoded (``reports.outcomes``): to decode them takes longer than all else
    that the supervisor does for a batch, and a worker on the same core waits for it.
    """

    exchanges: tuple[Exchanges, ...]
    rows: bytes
    count: int
    lost: int = 0


class Ask(Message, frozen=True):
    """A control question, on behalf of an HTTP client."""

    call: CallId
    verb: Verb


class Beat(Message, frozen=True):
    """Sign of life, both ways, once a second."""


FromWorker = Hello | CatalogueAdopted | Acquire | Cancel | Release | Report | Ask | Beat

# ------------------------------------------------------------------ supervisor -> worker


class Welcome(Message, frozen=True):
    """Answer to a good ``Hello``."""

    instance: str
    catalogue: Catalogue


class Rejected(Message, frozen=True):
    """Answer to a ``Hello`` of another version; the worker ends with this text."""

    text: str


class CatalogueChanged(Message, frozen=True):
    """A new catalogue; the worker answers ``CatalogueAdopted``."""

    catalogue: Catalogue


class Granted(Message, frozen=True):
    """The lease. ``upstream`` is a base URL; the worker waits until it has catalogue ``revision``."""

    call: CallId
    lease: LeaseId
    model: ModelId
    generation: int
    upstream: str
    effective_name: str
    """The requested name after profiles and selectors."""
    parkable: bool
    """The worker may keep it for the next request for the same name, until it is recalled."""
    revision: int
    loading: float = 0.0
    """Seconds of the wait in which the model was started."""


class Refused(Message, frozen=True):
    """No lease. ``retry_after`` in seconds."""

    call: CallId
    refusal: Refusal
    text: str
    retry_after: float | None = None


class Progress(Message, frozen=True):
    """Where a waiting call stands; only for callers that asked, at most once a second."""

    call: CallId
    phase: str
    position: int
    estimate: float | None


class Recall(Message, frozen=True):
    """Give back up to ``count`` parkable leases of this generation: idle ones now, then those that end first."""

    model: ModelId
    generation: int
    count: int


class Cut(Message, frozen=True):
    """End the exchange that uses this lease, now."""

    lease: LeaseId


class Answer(Message, frozen=True):
    """The reply to ``Ask``."""

    call: CallId
    reply: Reply


class Drain(Message, frozen=True):
    """Stop accepting, finish what runs, end within ``deadline_in`` seconds."""

    deadline_in: float


FromSupervisor = (
    Welcome | Rejected | CatalogueChanged | Granted | Refused | Progress | Recall | Cut | Answer | Beat | Drain
)
