"""What the supervisor publishes for followers: phases of models, and their output lines.

Numbers are given here, one row for each topic, so that a follower sees what it missed. Nothing waits for a
follower. Mirror: ``protocol/events_link.py``.
"""

from collections.abc import Callable, Sequence

from protocol.control import MODELS_TOPIC, LogLines, ModelChanged, PublishedEvent, log_topic
from protocol.ids import ModelId
from supervisor.scheduler.board import Board
from supervisor.scheduler.effects import Effect
from supervisor.scheduler.events import Event


class EventsOut:
    """``publish`` puts an event under a topic on the wire."""

    def __init__(self, board: Board, publish: Callable[[str, PublishedEvent], None]) -> None:
        self._board = board
        self._publish = publish
        self._number = 0

    def observe(self, event: Event, effects: Sequence[Effect]) -> None:
        """Publish the phases that an event changed."""
        del event, effects
        for name in self._board.moved:
            model = self._board.models.get(name)
            if model is not None:
                self._number += 1
                self._publish(MODELS_TOPIC, ModelChanged(number=self._number, model=name, phase=str(model.phase)))

    def lines(self, model: ModelId, first: int, lines: tuple[str, ...]) -> None:
        """Publish new output of a model; ``first`` is the number of ``lines[0]``."""
        self._publish(log_topic(model), LogLines(model=model, first=first, lines=lines))
