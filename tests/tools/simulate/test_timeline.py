"""What is kept for the picture, and its bounds; the picture itself."""

import sys
from pathlib import Path

import pytest

from tests.tools.simulate.cases import FIFO, Arrival, Choice, Cost, run, scenario
from tools.simulate import plot, timeline
from tools.simulate.profiles import one_at_a_time
from tools.simulate.timeline import Timeline

CASE = scenario([Arrival(0, "a", 6), Arrival(1, "b", 2), Arrival(2, "b", 2)], {"a": Cost(10, 3), "b": Cost(4)})


def drawn(file: Path, *policies: str) -> bytes:
    runs = []
    for policy in policies:
        lanes = Timeline()
        runs.append(plot.Run(policy, run(CASE, Choice.of(policy), lanes), lanes))
    plot.draw(runs, file)
    return file.read_bytes()


def test_queues_are_kept_as_they_change() -> None:
    lanes = Timeline()
    run(CASE, FIFO, lanes)
    assert lanes.lanes["a"].queue == [(0, 1), (10, 0)]
    assert lanes.lanes["b"].queue == [(1, 1), (2, 2), (23, 1), (25, 0)]


def test_a_model_drains_for_a_claim() -> None:
    arrivals = [Arrival(0, "a", 30), Arrival(1, "b", 1), Arrival(2, "a", 1)]
    lanes = Timeline()
    run(scenario(arrivals, Cost(2), one_at_a_time("ab", limit=2)), Choice.of("fifo:maxWait=10"), lanes)
    assert ("draining", 11, 21) in list(lanes.lanes["a"].spans(100.0))


def test_changes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_CHANGES", 3)
    lanes = Timeline()
    record = run(CASE, FIFO, lanes)
    assert lanes.cut == 1
    assert sum(len(lane.kinds) + len(lane.queue) for lane in lanes.lanes.values()) <= 4
    assert record.ended == 27, "the run goes on"


def test_a_picture_is_a_png_and_the_same_each_time(tmp_path: Path) -> None:
    first = drawn(tmp_path / "one.png", "fifo")
    assert first.startswith(b"\x89PNG")
    assert drawn(tmp_path / "again.png", "fifo") == first
    assert drawn(tmp_path / "two.png", "fifo", "arrival-order") != first


def test_more_models_than_fit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(tmp_path / "whole.png", "fifo")
    monkeypatch.setattr(plot, "MOST_LANES", 1)
    assert drawn(tmp_path / "part.png", "fifo") != whole


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(plot.CannotPlot, match="cannot be written: No such file"):
        drawn(tmp_path / "none" / "x.png", "fifo")


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plot.CannotPlot, match=r"pip install .*matplotlib"):
        plot.check()
