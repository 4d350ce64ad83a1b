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
    from matplotlib.figure import Figure

MOST_LANES = 12
"""Lanes of one policy; models that started most often go first."""
MOST_POINTS = 50_000
"""Waits of one policy in the picture; of more, every n-th."""
EDGE = 0.6
"""Points."""
COLOURS = {
    "starting": "#e69f00",
    "ready": "#cfe8cf",
    "serving": "#2e8b57",
    "draining": "#8da0cb",
    "stopping": "#c0392b",
}
QUEUE = "#777777"
MARKERS = "osx^v+D"


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
    longest = max((count for chosen in lanes for _, lane in chosen for _, count in lane.queue), default=0) or 1
    _draw_waits(panels[0], runs, lanes[0])
    for panel, run, chosen in zip(panels[1:], runs, lanes, strict=True):
        _draw_lanes(panel, run, chosen, longest)
    panels[-1].set_xlabel("time (s)")
    _explain_colours(figure)
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


def _draw_waits(panel: "Axes", runs: Sequence[Run], lanes: Sequence[tuple[str, Lane]]) -> None:
    """One series for each policy; with one policy, for each of its models."""
    series = {run.name: [(at, wait) for _, at, wait in run.record.waits] for run in runs}
    if len(runs) == 1:
        waits = runs[0].record.waits
        series = {name: [(at, wait) for model, at, wait in waits if model == name] for name, _ in lanes}
    for number, (name, waits_of) in enumerate(series.items()):
        step = -(-len(waits_of) // MOST_POINTS) or 1
        shown = sorted(waits_of[::step])
        marker = MARKERS[number % len(MARKERS)]
        panel.plot(
            [at for at, _ in shown], [wait for _, wait in shown], marker, markersize=4, fillstyle="none", label=name
        )
    panel.set_ylabel("waited (s)")
    panel.set_ylim(bottom=0)
    panel.set_title("How long requests waited, by the time at which they came", loc="left", fontsize=10)
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _draw_lanes(panel: "Axes", run: Run, lanes: Sequence[tuple[str, Lane]], longest: int) -> None:
    """``longest``: the queue that is drawn at full height."""
    ended = run.record.ended
    for number, (_, lane) in enumerate(lanes):
        bottom = float(len(lanes) - number)
        for kind, colour in COLOURS.items():
            spans = [(since, lasts) for found, since, lasts in lane.spans(ended) if found == kind]
            # With an edge, what takes less than a pixel is seen, too; of a short visit, that it served.
            above = 2 if kind == "serving" else 1
            where = (bottom - 0.4, 0.38)
            panel.broken_barh(spans, where, facecolors=colour, edgecolors=colour, linewidth=EDGE, zorder=above)
        times = [since for since, _ in lane.queue] + [ended]
        heights = [0.48 * count / longest for _, count in lane.queue]
        heights.append(heights[-1] if heights else 0.0)
        tops = [bottom - 0.95 + height for height in heights]
        panel.fill_between(times, bottom - 0.95, tops, step="post", color=QUEUE, linewidth=0)
    panel.set_yticks([len(lanes) - number - 0.2 for number in range(len(lanes))], [name for name, _ in lanes])
    panel.set_ylim(0, len(lanes) + 0.1)
    hidden = len(run.timeline.lanes) - len(lanes)
    more = f"; {hidden} more models are not drawn" if hidden else ""
    cut = f"; changes after {run.timeline.cut:.0f} s are not drawn" if run.timeline.cut is not None else ""
    panel.set_title(
        f"{run.name}: models, and below each its queue (up to {longest}){more}{cut}", loc="left", fontsize=10
    )


def _explain_colours(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=kind) for kind, colour in COLOURS.items()]
    handles.append(Patch(color=QUEUE, label="queue"))
    figure.legend(handles=handles, loc="outside lower center", fontsize=8, ncols=len(handles))
