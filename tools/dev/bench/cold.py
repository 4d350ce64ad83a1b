"""``python -m tools.dev.bench cold``: what swapyard adds to the start of a model server.

From outside: the time from a request for a stopped model to its answer, less the time that the same server, started
by hand in the same round, needs from its start to the same answer. Starts take 0 to 900 ms, at random within each
tenth of a second, so that no rhythm of the probes is met or missed on purpose.
"""

import random
import shlex
import statistics
import time
from http.client import HTTPConnection

from tools.dev.bench.demands import COLD, US
from tools.dev.bench.load import KEY
from tools.dev.bench.place import Place
from tools.dev.bench.problems import CannotMeasure
from tools.dev.bench.processes import free_port, said, started
from tools.dev.bench.results import Results
from tools.dev.bench.swapyard_target import ctl, served
from tools.dev.bench.traffic import progress

STEPS = 10
ANSWER_WITHIN = 30.0
MODEL = """\
  cold-{delay}:
    cmd: {upstream} -port {port} -start-delay {delay}ms
    proxy: http://127.0.0.1:{port}
"""


def measure(place: Place, runs: int, found: Results) -> None:
    """One round for each run: ten starts by hand, and ten by a request."""
    rng = random.Random(6)  # noqa: S311 (a seeded generator is what a bench needs)
    rounds = [[0, *(100 * step - rng.randrange(100) for step in range(1, STEPS))] for _ in range(runs)]
    upstream, port = place.programs / "upstream", free_port()
    models = [
        MODEL.format(delay=delay, upstream=shlex.quote(str(upstream)), port=port)
        for delay in sorted({delay for delays in rounds for delay in delays})
    ]
    with served(place, f"apiKeys: [{KEY}]\nmodels:\n{''.join(models)}") as (address, runtime):
        for run, delays in enumerate(rounds):
            added = []
            for delay in delays:
                own = by_hand(place, port, delay)
                whole = by_request(address, f"cold-{delay}")
                ctl(runtime, "unload")
                added.append((whole - own) * 1e3)
            measured = {COLD: statistics.median(added), "longest, ms": max(added), "shortest, ms": min(added)}
            found.add("cold", US, measured)
            progress(f"cold run {run + 1}/{runs}", measured)


def by_hand(place: Place, port: int, delay: int) -> float:
    """Seconds that the server needs, from when it runs to its first answer; it is asked when it says it listens."""
    command = [str(place.programs / "upstream"), "-port", str(port), "-start-delay", f"{delay}ms"]
    with started(command, place.cores.proxy, place.folder("cold") / "log") as it:
        began = time.perf_counter()
        said(it, "listening ")
        post(f"127.0.0.1:{port}", "any")
        return time.perf_counter() - began


def by_request(address: str, model: str) -> float:
    """Seconds from a request for the stopped model to its answer."""
    began = time.perf_counter()
    post(address, model)
    return time.perf_counter() - began


def post(address: str, model: str) -> None:
    """One chat completion on a connection of its own."""
    connection = HTTPConnection(address, timeout=ANSWER_WITHIN)
    try:
        body = f'{{"user":"{0:016}","model":"{model}","messages":[]}}'
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise CannotMeasure(f"{address} says {answer.status}: {text.decode(errors='replace')[:200]}")
