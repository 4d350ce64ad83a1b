"""Who of the callers that wait for a model is next: for each model a heap of callers by their tags.

An index over what the core holds (``contracts.Queue``), made when it is first asked for and brought up to date as it
is used; so nothing of it is kept in snapshots. Ties go to the older request. Used by ``window.py``.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Queue, Waiting

Key = tuple[float, int]
"""Tag of the caller, and number of his oldest request."""


@dataclass(slots=True)
class Lane:
    """One model. ``keys``: by caller, the entry of his that counts; none of them is larger than it should be."""

    keys: dict[str, Key] = field(default_factory=dict)
    heap: list[tuple[Key, str]] = field(default_factory=list)

    def put(self, caller: str, key: Key) -> None:
        """This is where he stands from now on."""
        self.keys[caller] = key
        heapq.heappush(self.heap, (key, caller))
        if len(self.heap) > 4 * len(self.keys) + 16:
            self.heap = [(key, caller) for caller, key in self.keys.items()]
            heapq.heapify(self.heap)


class Lanes:
    """All models. ``tag``: where a caller stands."""

    def __init__(self, tag: Callable[[str], float]) -> None:
        self._tag = tag
        self._lanes: dict[ModelId, Lane] = {}

    def arrived(self, request: Waiting) -> None:
        """Another request; its caller may be new to the model, or have been forgotten meanwhile."""
        lane = self._lanes.get(request.model)
        if lane is not None:
            key = (self._tag(request.caller), request.number)
            known = lane.keys.get(request.caller)
            if known is None or key[0] < known[0]:
                lane.put(request.caller, key if known is None else (key[0], known[1]))

    def lowered(self, caller: str) -> None:
        """His tag went down."""
        for lane in self._lanes.values():
            key = lane.keys.get(caller)
            if key is not None:
                lane.put(caller, (self._tag(caller), key[1]))

    def first(self, queue: Queue, model: ModelId) -> Waiting | None:
        """The request that is next for this model, if any waits."""
        lane = self._lanes.get(model)
        if lane is None:
            lane = self._lanes[model] = self._made(queue, model)
        while lane.heap:
            key, caller = lane.heap[0]
            if lane.keys.get(caller) != key:
                heapq.heappop(lane.heap)
                continue
            request = queue.first(model, caller)
            if request is None:
                heapq.heappop(lane.heap)
                del lane.keys[caller]
                continue
            now = (self._tag(caller), request.number)
            if now == key:
                return request
            heapq.heappop(lane.heap)
            lane.put(caller, now)
        return None

    def forget(self) -> None:
        """Begin anew: the core's queues are not what they were."""
        self._lanes.clear()

    def _made(self, queue: Queue, model: ModelId) -> Lane:
        lane = Lane()
        for caller in queue.callers(model):
            request = queue.first(model, caller)
            if request is not None:
                lane.put(caller, (self._tag(caller), request.number))
        return lane
