"""The ``swapctl`` command: questions to a running swapyard, over its control socket.

Exit codes: 0 done, 1 refused or failed, 2 bad command line, 3 nothing listens. Rendering is
``status_table.py``; the conversation is ``protocol/control_link.py``.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import trio

from protocol import runtime_dir
from protocol.control import (
    Done,
    Explain,
    ExplainReply,
    Failed,
    Load,
    Logs,
    LogsReply,
    Queue,
    QueueReply,
    Record,
    RecordReply,
    Reload,
    ReloadReply,
    Reply,
    Reset,
    Status,
    StatusReply,
    Unload,
    Verb,
)
from protocol.control_link import ControlLink, open_control
from protocol.errors import ProtocolError
from protocol.events_link import Gap, follow_log
from protocol.ids import ModelId
from tools.status_table import render, render_explained, render_queue, render_recording, render_reload

ANSWER_WITHIN = 10.0
"""Seconds for questions that are answered at once; the others wait for a model."""
RELOAD_WITHIN = 60.0
"""Seconds; a large file takes a while, and every worker has to adopt it."""
REDRAW_EVERY = 1.0
CLEAR = "\x1b[H\x1b[2J"


class Refused(Exception):
    """The supervisor said no; the text says why."""


def main() -> None:
    """Entry point of the console script."""
    options = parser().parse_args()
    try:
        directory = runtime_dir.find_running(options.runtime_dir)
        trio.run(run, options, directory)
    except Refused as refused:
        sys.exit(fail(str(refused), 1))
    except ProtocolError as error:
        sys.exit(fail(str(error), 3))
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        sys.exit(0)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--runtime-dir", type=Path, default=None, help="where the sockets of that swapyard are")
    common.add_argument("-o", "--output", choices=["table", "json"], default="table")
    made = argparse.ArgumentParser(prog="swapctl", description=__doc__, allow_abbrev=False)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", parents=[common], help="models and workers")
    status.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    unload = commands.add_parser("unload", parents=[common], help="stop models (none named: all)")
    unload.add_argument("models", nargs="*", metavar="MODEL")
    unload.add_argument("--drain", action="store_true", help="refuse nobody, wait until what runs has finished")
    commands.add_parser("queue", parents=[common], help="who waits, since when, for what").add_argument(
        "--watch", action="store_true", help="go on until Ctrl-C"
    )
    explain = commands.add_parser("explain", parents=[common], help="what one call waits for")
    explain.add_argument("call", metavar="CALL", help="its id in 'swapctl queue', or the end of it")
    reload = commands.add_parser("reload", parents=[common], help="take over a changed configuration")
    reload.add_argument("--dry-run", action="store_true", help="only say what would happen")
    for name, text in (("load", "make a model ready"), ("reset", "forget a model's failures")):
        commands.add_parser(name, parents=[common], help=text).add_argument("model", metavar="MODEL")
    logs = commands.add_parser("logs", parents=[common], help="what a model wrote")
    logs.add_argument("model", metavar="MODEL")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    _add_record(commands, common)
    return made


def _add_record(commands: Any, common: argparse.ArgumentParser) -> None:
    """``record`` has commands of its own."""
    actions = commands.add_parser("record", help="write what reaches the scheduler to a file, for 'swapyard simulate'")
    actions = actions.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", parents=[common], help="begin with the state of now; goes on until 'stop'")
    start.add_argument(
        "file", type=os.path.abspath, metavar="FILE", help="written by the supervisor, readable by its user only"
    )
    start.add_argument(
        "--most",
        type=_mebibytes,
        default=Record(action="start").most,
        metavar="MIB",
        help="ends before it is larger (256)",
    )
    start.add_argument("--hash-names", action="store_true", help="hide the names of models and callers, and all texts")
    start.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    actions.add_parser("stop", parents=[common], help="end the recording")
    actions.add_parser("status", parents=[common], help="how the recording stands, or how the last one ended")


def _mebibytes(text: str) -> int:
    """Bytes of a number of MiB, 0.1 to a million."""
    try:
        many = float(text)
    except ValueError:
        many = 0.0
    if not 0.1 <= many <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of MiB, 0.1 or more")
    return int(many * 2**20)


async def run(options: argparse.Namespace, directory: Path) -> None:
    """One command."""
    try:
        async with open_control(directory) as link:
            match options.command:
                case "logs":
                    await show_logs(link, directory, options)
                case "status" | "queue" | "explain" | "reload":
                    await show(link, reading(options), options)
                case "record":
                    await record(link, options)
                case _:
                    await order(link, wish(options), options)
    except* (Refused, ProtocolError, BrokenPipeError, KeyboardInterrupt) as group:
        failure: BaseException = group
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
    else:
        return
    raise failure


def reading(options: argparse.Namespace) -> Verb:
    """The question behind a command that shows something."""
    match options.command:
        case "queue":
            return Queue()
        case "explain":
            return Explain(call=options.call)
        case "reload":
            return Reload(dry_run=options.dry_run)
    return Status()


def wish(options: argparse.Namespace) -> Verb:
    """The question behind a command that changes something."""
    match options.command:
        case "unload":
            return Unload(models=tuple(options.models), drain=options.drain)
        case "load":
            return Load(model=options.model)
    return Reset(model=options.model)


async def ask(link: ControlLink, verb: Verb, within: float | None = None) -> Reply:
    """The reply, or ``Refused``; waits ``within`` seconds, ``ANSWER_WITHIN`` if not said."""
    reply = await link.ask(verb, timeout=ANSWER_WITHIN if within is None else within)
    if isinstance(reply, Failed):
        raise Refused(reply.text)
    return reply


async def show(link: ControlLink, verb: Verb, options: argparse.Namespace) -> None:
    """One reading, or one after the other."""
    watch = getattr(options, "watch", False)
    while True:
        reply = await ask(link, verb, RELOAD_WITHIN if isinstance(verb, Reload) else ANSWER_WITHIN)
        write_reply(reply, options, CLEAR if watch and options.output == "table" else "")
        if not watch:
            return
        await trio.sleep(REDRAW_EVERY)


def write_reply(reply: Reply, options: argparse.Namespace, before: str = "") -> None:
    """A reply as it was asked for."""
    text = msgspec.json.format(msgspec.json.encode(reply)).decode() if options.output == "json" else text_of(reply)
    emit(f"{before}{text}\n")


def text_of(reply: Reply) -> str:
    """A reading as a table."""
    match reply:
        case StatusReply():
            return render(reply)
        case QueueReply():
            return render_queue(reply)
        case ExplainReply():
            return render_explained(reply)
        case ReloadReply():
            return render_reload(reply)
        case RecordReply():
            return render_recording(reply)
    return ""


async def order(link: ControlLink, verb: Verb, options: argparse.Namespace) -> None:
    """Ask for something that may take as long as a model takes."""
    await ask(link, Status())  # somebody is there: the next answer may take its time
    reply = await ask(link, verb, float("inf"))
    if options.output == "json":
        emit(msgspec.json.encode({"done": isinstance(reply, Done)}).decode() + "\n")


async def record(link: ControlLink, options: argparse.Namespace) -> None:
    """Start or stop a recording, or say how it stands. A slow disk may take its time."""
    await ask(link, Status())
    if options.action == "start":
        verb = Record(
            action="start",
            path=str(options.file),
            most=options.most,
            hash_names=options.hash_names,
            overwrite=options.overwrite,
        )
    else:
        verb = Record(action=options.action)
    write_reply(await ask(link, verb, float("inf")), options)


async def show_logs(link: ControlLink, directory: Path, options: argparse.Namespace) -> None:
    """The kept lines, and with ``-f`` those that come."""

    async def snapshot() -> LogsReply:
        reply = await ask(link, Logs(model=options.model))
        assert isinstance(reply, LogsReply)
        return reply

    kept = await snapshot()
    if not options.follow:
        write_lines(kept.lines, options.output)
        return
    async with follow_log(runtime_dir.endpoint(directory, "events"), ModelId(kept.model), snapshot) as batches:
        async for batch in batches:
            if isinstance(batch, Gap):
                print(f"--- {batch.missed} lines were not seen here", file=sys.stderr)
            else:
                write_lines(batch, options.output)


def write_lines(lines: tuple[str, ...], output: str) -> None:
    """As they are, or one JSON text each."""
    emit("".join(f"{msgspec.json.encode(line).decode() if output == 'json' else line}\n" for line in lines))


def emit(text: str) -> None:
    """To stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def fail(text: str, status: int) -> int:
    """One line for people."""
    print(f"swapctl: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
