"""The phase table: its picture, its completeness, its refusals."""

from pathlib import Path

import pytest

from supervisor.scheduler.effects import StartModel
from supervisor.scheduler.events import ModelExited
from supervisor.scheduler.phases import RUNNING, TABLE, IllegalTransition, Phase, diagram, next_phase

DESIGN = Path(__file__).parents[3] / "supervisor" / "scheduler" / "design.md"


def test_the_diagram_in_the_design_is_drawn_from_the_table() -> None:
    assert diagram() in DESIGN.read_text()


def test_every_phase_has_rows_and_every_running_phase_can_end() -> None:
    assert set(TABLE) == set(Phase)
    for phase in RUNNING:
        assert TABLE[phase][ModelExited] is Phase.STOPPED


def test_an_absent_pair_is_refused_and_says_which() -> None:
    with pytest.raises(IllegalTransition, match="StartModel has no row in phase ready"):
        next_phase(Phase.READY, StartModel)
