"""What was found, as a table or as JSON. Times in seconds, shares in percent in tables and as fractions in JSON.

The same records give the same text, byte for byte: numbers are rounded, and everything stands in the order in which it
was first needed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.simulate.measures import Account, Record, Waits

COLUMNS = (
    "swaps",
    "wasted",
    "serving",
    "mean",
    "p50",
    "p95",
    "p99",
    "max",
    "served",
    "refused",
    "missed",
    "left",
    "open",
    "Jain",
)
PARTS = ("asked", "served", "refused", "missed", "left", "service", "mean", "p50", "p95", "p99", "max")
NONE = "-"
NOTES = """\
swaps   loads begun; wasted: of these, loads that served nobody
serving share of the time, from the first arrival to the end, in which at least one request was being served
mean …  seconds that the served requests waited
missed  of the refused, those that waited until their deadline; left: clients that left before they were served
open    neither served nor refused at the end
Jain    Jain's index over callers, of the service that each got per second of being there; 1: all the same
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One policy: its record, or why there is none."""

    name: str
    record: Record | None
    missing: str = ""


def as_table(rows: Sequence[Row]) -> str:
    """One line a policy; of a single one, also a line for each model and each caller."""
    lines = aligned([("policy", *COLUMNS), *((row.name, *cells(row.record)) for row in rows)])
    single = rows[0].record if len(rows) == 1 else None
    if single is not None:
        lines += ["", *_parts("model", single.models, single.by_model(), ("swaps", "wasted"))]
        if list(single.callers) != [""]:
            lines += ["", *_parts("caller", single.callers, single.by_caller())]
    for row in rows:
        if row.missing:
            lines += ["", row.missing]
        for text in row.record.complaints if row.record is not None else ():
            lines += ["", f"{row.name}: a mistake of the policy or the eviction rule: {text}"]
    return "\n".join(lines) + f"\n\n{NOTES}"


def cells(record: Record | None) -> tuple[str, ...]:
    """The columns of one policy."""
    if record is None:
        return (NONE,) * len(COLUMNS)
    waits = record.summary()
    served = sum(account.served for account in record.models.values())
    jain = record.jain
    return (
        str(record.starts),
        str(record.wasted),
        f"{100 * record.share:.1f} %",
        *_waits(waits),
        str(served),
        str(record.refused),
        str(sum(account.missed for account in record.models.values())),
        str(sum(account.left for account in record.models.values())),
        str(sum(account.open for account in record.models.values()) - record.serving_now),
        NONE if jain is None else f"{jain:.3f}",
    )


def _waits(waits: Waits) -> tuple[str, ...]:
    return tuple(NONE if wait is None else f"{wait:.1f}" for wait in _five(waits))


def _five(waits: Waits) -> tuple[float | None, ...]:
    return (waits.mean, waits.p50, waits.p95, waits.p99, waits.worst)


def _parts(
    what: str, accounts: Mapping[str, Account], waits: Mapping[str, Waits], more: tuple[str, ...] = ()
) -> list[str]:
    table = [(what, *more, *PARTS)]
    for name, account in accounts.items():
        loads = (str(account.starts), str(account.wasted)) if more else ()
        counts = (account.asked, account.served, account.refused, account.missed, account.left)
        table.append(
            (name or NONE, *loads, *map(str, counts), f"{account.service:.1f}", *_waits(waits[name])),
        )
    return aligned(table)


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Columns beside each other, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]


def as_json(what: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """``what``: that was simulated."""
    found = {**what, "policies": [_policy(row) for row in rows]}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _policy(row: Row) -> dict[str, Any]:
    record = row.record
    if record is None:
        return {"policy": row.name, "missing": row.missing}
    models, callers = record.by_model(), record.by_caller()
    return {
        "policy": row.name,
        "swaps": record.starts,
        "wastedLoads": record.wasted,
        "shareServing": _round(record.share),
        "span": _round(record.span),
        **_counts(record.models.values()),
        "waits": _object(record.summary()),
        "jain": _round(record.jain),
        "refusals": {str(refusal): count for refusal, count in sorted(record.refusals.items())},
        "models": {
            name: {
                "swaps": account.starts,
                "wastedLoads": account.wasted,
                **_counts([account]),
                "waits": _object(models[name]),
            }
            for name, account in record.models.items()
        },
        "callers": {
            name: {**_counts([account]), "present": _round(account.present), "waits": _object(callers[name])}
            for name, account in record.callers.items()
        },
        "mistakes": record.complaints,
    }


def _counts(accounts: Any) -> dict[str, Any]:
    accounts = list(accounts)
    return {
        "asked": sum(account.asked for account in accounts),
        "served": sum(account.served for account in accounts),
        "refused": sum(account.refused for account in accounts),
        "deadlineMisses": sum(account.missed for account in accounts),
        "left": sum(account.left for account in accounts),
        "service": _round(sum(account.service for account in accounts)),
    }


def _object(waits: Waits) -> dict[str, float | None]:
    return {name: _round(wait) for name, wait in zip(("mean", "p50", "p95", "p99", "max"), _five(waits), strict=True)}


def _round(number: float | None) -> float | None:
    """To the microsecond."""
    return None if number is None else round(number, 6)
