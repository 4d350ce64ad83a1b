"""``swapctl status``, ``queue`` and ``explain`` as text: pure, from a reply to lines. Times in people's units."""

from collections.abc import Sequence

from protocol.control import (
    BlockerRow,
    ExplainReply,
    ModelStatus,
    QueueReply,
    QueueRow,
    RecordReply,
    ReloadReply,
    StatusReply,
    WorkerStatus,
)

_HEAD = ("MODEL", "PHASE", "PID", "PORT", "UP", "LEASES", "WAITING", "TTL LEFT", "LAST FAILURE")
_LONGEST_FAILURE = 60


def render(status: StatusReply) -> str:
    """The whole table."""
    state = "shutting down" if status.shutting_down else f"up {duration(status.uptime)}"
    first = f"swapyard {status.version} · {status.listen} · pid {status.pid} · {state} · {status.starts} starts, "
    return "\n".join(
        [
            first + f"{status.swaps} swaps",
            "",
            *columns([_HEAD, *(_model(model) for model in status.models)]),
            "",
            *columns([("WORKER", "PID", "UP", "LEASES", "WAITING", "RESTARTS"), *map(_worker, status.workers)]),
        ]
    )


def render_queue(queue: QueueReply) -> str:
    """Who waits, oldest first."""
    if not queue.rows:
        return "nobody waits"
    head = ("CALL", "MODEL", "PHASE", "PLACE", "WAITED", "LEFT", "ESTIMATE", "CALLER", "WAITS FOR")
    lines = columns([head, *map(_queue_row, queue.rows)])
    hidden = queue.total - len(queue.rows)
    return "\n".join([*lines, *([f"and {hidden} more"] if hidden else [])])


def render_explained(reply: ExplainReply) -> str:
    """One call, and what has to happen first."""
    row = reply.row
    if reply.lease is not None:
        return f"{row.call} has lease {reply.lease} of {row.model} ({row.phase}) since {duration(row.waited)}"
    about = f"{row.call} waits for {row.model} ({row.phase}) since {duration(row.waited)}, place {row.position}"
    lines = columns([("WAITS FOR", "OF", "WHY", "LEFT"), *map(_blocker, reply.blockers)])
    return "\n".join([f"{about}, about {duration(row.estimate)} to go", "", *lines])


def render_recording(reply: RecordReply) -> str:
    """One line: the recording under way, or the last one."""
    if not reply.path:
        return "nothing is recorded"
    names = ", names hashed" if reply.hashed else ""
    size = f"{reply.bytes / 2**20:.1f} MiB (at most {reply.most / 2**20:g})"
    told = f"{reply.events} events, {size}, {duration(reply.seconds)}{names}"
    if reply.active:
        return f"recording to {reply.path}: {told}"
    return f"recorded to {reply.path}: {told}; it ended: {reply.text}"


RESTART_ONLY = "(options of the command line, such as --listen and --workers, need a restart)"


def render_reload(reply: ReloadReply) -> str:
    """What a reload does, or did."""
    first = "this would change:" if reply.dry_run else "taken over:"
    if not reply.rows and not reply.sections:
        return "nothing is different"
    rows = [(row.model, row.change, row.phase, ", ".join(row.what), row.effect) for row in reply.rows]
    lines = columns([("MODEL", "CHANGE", "PHASE", "WHAT", "EFFECT"), *rows]) if rows else []
    sections = [f"  {', '.join(reply.sections)} (in place)"] if reply.sections else []
    return "\n".join([first, *sections, *lines, RESTART_ONLY])


def _queue_row(row: QueueRow) -> tuple[str, ...]:
    times = (duration(row.waited), duration(row.left), duration(row.estimate))
    return (row.call, row.model, row.phase, str(row.position), *times, row.caller or "(load)", row.waits_for)


def _blocker(row: BlockerRow) -> tuple[str, ...]:
    return (row.kind, row.model, row.text, duration(row.left))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned text; the last column as long as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: float | None) -> str:
    """``4s``, ``3m12s``, ``5h02m``, ``9d04h``; nothing for None."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def _model(model: ModelStatus) -> tuple[str, ...]:
    failure = model.last_failure[:_LONGEST_FAILURE]
    if model.retry_in is not None:
        failure = f"{failure} (next try in {model.retry_in:.0f} s)"
    return (
        model.id,
        model.phase,
        "" if model.pid is None else str(model.pid),
        port_of(model.upstream),
        duration(model.uptime),
        f"{model.leases}/{model.limit}",
        str(model.waiting),
        "" if model.ttl_left is None else duration(model.ttl_left),
        failure,
    )


def _worker(worker: WorkerStatus) -> tuple[str, ...]:
    pid = "starting" if worker.pid is None else str(worker.pid)
    counts = (str(worker.leases), str(worker.waiting), str(worker.restarts))
    return (str(worker.slot), pid, duration(worker.uptime), *counts)


def port_of(upstream: str) -> str:
    """The port of a base URL, or nothing."""
    port = upstream.rpartition(":")[2].partition("/")[0]
    return port if port.isdigit() else ""
