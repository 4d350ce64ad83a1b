"""A picture of one or several runs, with matplotlib (the extra ``plot``).

Above: how long requests waited, by the time at which they came. Below, for each policy: one lane a model with what it
did, and its queue below it. Called by ``command.py``.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.simulate.measures import Record
from tools.simulate.timeline import Lane, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LANES = 12
"""Lanes of one policy; models that started most often go first."""
MOST_POINTS = 50_000
"""Waits of one policy in the picture; of more, every n-th."""
COLOURS = {
    "starting": "#e69f00",
    "ready": "#cfe8cf",
    "serving": "#2e8b57",
    "draining": "#8da0cb",
    "stopping": "#c0392b",
}


class CannotPlot(Exception):
    """There is no matplotlib, or the file cannot be written; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is drawn of one policy."""

    name: str
    record: Record
    timeline: Timeline


def check() -> None:
    """``CannotPlot`` if matplotlib is missing: said before anything is simulated."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise CannotPlot(
            "--plot needs matplotlib: pip install 'swapyard[plot]' (or 'pip install matplotlib')"
        ) from None


def draw(runs: Sequence[Run], file: Path) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    lanes = [_shown(run) for run in runs]
    rows = [2.5, *(0.6 + 0.75 * len(chosen) for chosen in lanes)]
    figure = Figure(figsize=(14, sum(rows) + 0.8), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=rows)[:, 0]
    _draw_waits(panels[0], runs)
    for panel, run, chosen in zip(panels[1:], runs, lanes, strict=True):
        _draw_lanes(panel, run, chosen)
    panels[-1].set_xlabel("time (s)")
    try:
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
    except OSError as error:
        raise CannotPlot(f"{file}: cannot be written: {error.strerror}") from None


def _shown(run: Run) -> list[tuple[str, Lane]]:
    """The lanes that are drawn, in configuration order."""
    starts = run.record.models
    used = [name for name, lane in run.timeline.lanes.items() if lane.kinds or lane.queue]
    most = sorted(used, key=lambda name: -starts[name].starts)[:MOST_LANES]
    return [(name, run.timeline.lanes[name]) for name in used if name in most]


def _draw_waits(panel: "Axes", runs: Sequence[Run]) -> None:
    for run in runs:
        waits = run.record.waits
        step = -(-len(waits) // MOST_POINTS) or 1
        shown = sorted((at, wait) for _, at, wait in waits[::step])
        panel.plot([at for at, _ in shown], [wait for _, wait in shown], ".", markersize=4, label=run.name)
    panel.set_ylabel("waited (s)")
    panel.set_ylim(bottom=0)
    panel.set_title("How long requests waited, by the time at which they came", loc="left", fontsize=10)
    panel.legend(loc="upper right", fontsize=8)


def _draw_lanes(panel: "Axes", run: Run, lanes: Sequence[tuple[str, Lane]]) -> None:
    ended = run.record.ended
    longest = max((count for _, lane in lanes for _, count in lane.queue), default=0) or 1
    for number, (_, lane) in enumerate(lanes):
        bottom = float(len(lanes) - number)
        for kind, colour in COLOURS.items():
            spans = [(since, lasts) for found, since, lasts in lane.spans(ended) if found == kind]
            panel.broken_barh(spans, (bottom - 0.4, 0.38), facecolors=colour, linewidth=0)
        times = [since for since, _ in lane.queue] + [ended]
        heights = [0.48 * count / longest for _, count in lane.queue]
        heights.append(heights[-1] if heights else 0.0)
        tops = [bottom - 0.95 + height for height in heights]
        panel.fill_between(times, bottom - 0.95, tops, step="post", color="#777777", linewidth=0)
    panel.set_yticks([len(lanes) - number - 0.2 for number in range(len(lanes))], [name for name, _ in lanes])
    panel.set_ylim(0, len(lanes) + 0.1)
    hidden = len(run.timeline.lanes) - len(lanes)
    more = f"; {hidden} more models" if hidden else ""
    cut = f"; changes after {run.timeline.cut:.0f} s are not drawn" if run.timeline.cut is not None else ""
    panel.set_title(f"{run.name}: models, and queues below them (up to {longest}){more}{cut}", loc="left", fontsize=10)
    _legend(panel)


def _legend(panel: "Axes") -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=kind) for kind, colour in COLOURS.items()]
    handles.append(Patch(color="#777777", label="queue"))
    panel.legend(handles=handles, loc="upper right", fontsize=8, ncols=len(handles))
