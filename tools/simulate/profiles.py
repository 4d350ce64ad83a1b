"""Named traffic to try a policy on. The docstring of each is its definition, and what ``--list-profiles`` prints.

A profile gets a generator of chance (from ``--seed``) and the swap cost (``--swap-cost``), and returns ``Traffic``:
a configuration as people write it, requests, and what each swap costs. Unless a profile says otherwise, one model
runs at a time and serves one request at a time, 0.5 s each; a load takes the swap cost, a stop no time.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tools.simulate.world import Arrival, Cost

SERVICE = 0.5
Random = random.Random


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a profile is made of. ``costs``: those that differ from the swap cost for a load and 0 for a stop."""

    config: str
    arrivals: Sequence[Arrival] = ()
    loops: Sequence[Sequence[Arrival]] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)


def single(rng: Random, swap: float) -> Traffic:
    """20 requests for one model at once: nothing but its load."""
    return Traffic(one_at_a_time("a"), [Arrival(0.0, "a", SERVICE)] * 20)


def balanced(rng: Random, swap: float) -> Traffic:
    """20 requests, one every 0.25 s: ten for a, ten for b, shuffled."""
    return Traffic(one_at_a_time("ab"), spaced(shuffled(rng, "a" * 10 + "b" * 10), 0.25))


def bursty(rng: Random, swap: float) -> Traffic:
    """4 bursts of 10 requests, one burst every 10 s: a, b, a, b."""
    return Traffic(one_at_a_time("ab"), bursts("abab", 10, 10.0))


def dominant_80(rng: Random, swap: float) -> Traffic:
    """50 requests, one every 0.5 s: 80 % for a, 20 % for b, shuffled."""
    return Traffic(one_at_a_time("ab"), spaced(shuffled(rng, "a" * 40 + "b" * 10), SERVICE))


def interleave(rng: Random, swap: float) -> Traffic:
    """30 requests, one every 0.5 s: a, b, a, b, …"""
    return Traffic(one_at_a_time("ab"), spaced("ab" * 15, SERVICE))


def surge(rng: Random, swap: float) -> Traffic:
    """A request for a every 2 s for 60 s, and 20 for b at once after 20 s."""
    steady = [Arrival(second, "a", SERVICE) for second in range(0, 60, 2)]
    return Traffic(one_at_a_time("ab"), in_time([*steady, *[Arrival(20.0, "b", SERVICE)] * 20]))


def three_models(rng: Random, swap: float) -> Traffic:
    """30 requests, one every 0.5 s: a, b, c, a, b, c, …"""
    return Traffic(one_at_a_time("abc"), spaced("abc" * 10, SERVICE))


def random_50(rng: Random, swap: float) -> Traffic:
    """50 requests for a, b or c, each as likely; Poisson arrivals, one every 0.5 s on average."""
    return Traffic(one_at_a_time("abc"), poisson(rng, "abc", 50, SERVICE))


def random_100(rng: Random, swap: float) -> Traffic:
    """The same with 100 requests."""
    return Traffic(one_at_a_time("abc"), poisson(rng, "abc", 100, SERVICE))


def random_200(rng: Random, swap: float) -> Traffic:
    """The same with 200 requests."""
    return Traffic(one_at_a_time("abc"), poisson(rng, "abc", 200, SERVICE))


def dominant_95(rng: Random, swap: float) -> Traffic:
    """100 requests, one every 0.5 s: 95 % for a, 5 % for b, shuffled."""
    return Traffic(one_at_a_time("ab"), spaced(shuffled(rng, "a" * 95 + "b" * 5), SERVICE))


def heavy_burst(rng: Random, swap: float) -> Traffic:
    """6 bursts of 50 requests, one burst every 20 s: a, b, c, a, b, c."""
    return Traffic(one_at_a_time("abc"), bursts("abcabc", 50, 20.0))


def agents(rng: Random, swap: float) -> Traffic:
    """An orchestrator (12 calls of 4 s, 10 s apart), two explorers of one model (30 of 1.5 s, 1 s apart) and a coder
    (8 of 15 s, 5 s apart). Each waits for its answers. One model at a time, four requests at a time in a model."""
    config = one_at_a_time(("orchestrator", "explorer", "coder"), limit=4)
    explorers = [loop("explorer", f"explorer-{number}", 30, 1.5, 1.0) for number in (1, 2)]
    others = [loop("orchestrator", "orchestrator", 12, 4.0, 10.0), loop("coder", "coder", 8, 15.0, 5.0)]
    return Traffic(config, loops=[*others, *explorers])


def image_job(rng: Random, swap: float) -> Traffic:
    """An hour of chat (14 GiB, Poisson, every 15 s, 5 s each), embeddings (2 GiB, pinned, every 2 s, 0.1 s each) and,
    after 10 minutes, one image job of 20 minutes (20 GiB), in a memory of 24 GiB. The image model loads in 3 times the
    swap cost."""
    config = with_memory(24, {"chat": 14, "embed": 2, "image": 20}, pinned="embed")
    chat = poisson(rng, ["chat"], 240, 15.0, service=5.0, caller="people")
    embed = poisson(rng, ["embed"], 1800, 2.0, service=0.1, caller="indexer")
    job = [Arrival(600.0, "image", 1200.0, "artist")]
    return Traffic(config, in_time([*chat, *embed, *job]), costs={"image": Cost(3 * swap)})


def zipf(rng: Random, swap: float) -> Traffic:
    """1,000 requests for 50 models by Zipf's law (the n-th has 1/n of the first's), Poisson, one every 2 s, 3 s each;
    4 GiB each in a memory of 24 GiB, four requests at a time in a model."""
    names = [f"m{number:02}" for number in range(1, 51)]
    chosen = rng.choices(names, weights=[1 / number for number in range(1, 51)], k=1000)
    arrivals = [Arrival(at, name, 3.0) for at, name in zip(times(rng, 1000, 2.0), chosen, strict=True)]
    return Traffic(with_memory(24, dict.fromkeys(names, 4)), arrivals)


def cancel_storm(rng: Random, swap: float) -> Traffic:
    """A request for a every second for 5 minutes; every 30 s, 40 requests for b whose clients leave after 3 s, and one
    that stays."""
    steady = [Arrival(float(second), "a", SERVICE, "steady") for second in range(300)]
    gone = [Arrival(at, "b", SERVICE, "storm", cancel_after=3.0) for at in seconds(15, 300, 30) for _ in range(40)]
    stays = [Arrival(at, "b", SERVICE, "patient") for at in seconds(15, 300, 30)]
    return Traffic(one_at_a_time("ab"), in_time([*steady, *gone, *stays]))


def crashes(rng: Random, swap: float) -> Traffic:
    """200 requests for a, b or c, Poisson, one every 2 s; a load fails with a probability of 30 % (``--crash``)."""
    costs = {name: Cost(swap, crash=0.3) for name in "abc"}
    return Traffic(one_at_a_time("abc"), poisson(rng, "abc", 200, 2.0), costs=costs)


def slow_stops(rng: Random, swap: float) -> Traffic:
    """100 requests for a, b or c, Poisson, one every 2 s; b takes 3 times the swap cost to stop."""
    costs = {"b": Cost(swap, 3 * swap)}
    return Traffic(one_at_a_time("abc"), poisson(rng, "abc", 100, 2.0), costs=costs)


def asymmetric(rng: Random, swap: float) -> Traffic:
    """100 requests for large or small, Poisson, one every 2 s; large loads in twice the swap cost and stops in half of
    it, small loads in a tenth."""
    costs = {"large": Cost(2 * swap, swap / 2), "small": Cost(swap / 10)}
    names = ["large", "small"]
    return Traffic(one_at_a_time(names), poisson(rng, names, 100, 2.0), costs=costs)


def four_callers(rng: Random, swap: float) -> Traffic:
    """Four callers who always have 10 requests open for a and 10 for b, each with 2,000 requests in all."""
    loops = [
        loop(model, f"caller-{number}", 100, SERVICE, 0.0)
        for _ in range(10)
        for number in (1, 2, 3, 4)
        for model in "ab"
    ]
    return Traffic(one_at_a_time("ab"), loops=loops)


def greedy(rng: Random, swap: float) -> Traffic:
    """Caller A always has 1,000 requests open, half of them for a and half for b, 3,000 in all; caller B sends one for
    a or b every 10 s for 20 minutes."""
    loops = [loop(model, "A", 3, SERVICE, 0.0) for _ in range(500) for model in "ab"]
    modest = [Arrival(at, "ab"[number % 2], SERVICE, "B") for number, at in enumerate(seconds(5, 1200, 10))]
    return Traffic(one_at_a_time("ab"), modest, loops)


PROFILES: dict[str, Callable[[Random, float], Traffic]] = {
    "single": single,
    "balanced": balanced,
    "bursty": bursty,
    "dominant-80": dominant_80,
    "interleave": interleave,
    "surge": surge,
    "three-models": three_models,
    "random-50": random_50,
    "random-100": random_100,
    "random-200": random_200,
    "dominant-95": dominant_95,
    "heavy-burst": heavy_burst,
    "agents": agents,
    "image-job": image_job,
    "zipf": zipf,
    "cancel-storm": cancel_storm,
    "crashes": crashes,
    "slow-stops": slow_stops,
    "asymmetric": asymmetric,
    "four-callers": four_callers,
    "greedy": greedy,
}


def definition(name: str) -> str:
    """What a profile is, in one line."""
    return " ".join((PROFILES[name].__doc__ or "").split())


# What profiles are made from.


def one_at_a_time(models: Iterable[str], limit: int = 1) -> str:
    """A configuration in which models exclude each other; queues as long as it takes."""
    return "models:\n" + "".join(f"  {name}: {_model(limit)}\n" for name in models)


def with_memory(total: int, models: Mapping[str, int], limit: int = 4, pinned: str = "") -> str:
    """A configuration in which models run beside each other as long as they fit. GiB."""
    lines = ["models:"]
    for name, size in models.items():
        more = f", memory: {{gpu0: {size}GiB}}" + (", pinned: true" if name == pinned else "")
        lines.append(f"  {name}: {_model(limit, more)}")
    lines.append("routing:")
    lines.append(f"  router: {{use: memory, settings: {{memory: {{devices: {{gpu0: {total}GiB}}}}}}}}")
    return "\n".join(lines) + "\n"


def _model(limit: int, more: str = "") -> str:
    return f"{{cmd: 'serve ${{PORT}}', concurrencyLimit: {limit}, queueLimit: 100000, queueTimeout: 86400{more}}}"


def spaced(models: Iterable[str], gap: float) -> list[Arrival]:
    """A request every ``gap`` seconds."""
    return [Arrival(number * gap, model, SERVICE) for number, model in enumerate(models)]


def bursts(models: Iterable[str], size: int, gap: float) -> list[Arrival]:
    """``size`` requests at once for each of these models, ``gap`` seconds apart."""
    return [Arrival(number * gap, model, SERVICE) for number, model in enumerate(models) for _ in range(size)]


def poisson(
    rng: Random, models: Sequence[str], count: int, gap: float, *, service: float = SERVICE, caller: str = ""
) -> list[Arrival]:
    """Independent arrivals, one every ``gap`` seconds on average, for models that are each as likely."""
    return [Arrival(at, rng.choice(models), service, caller) for at in times(rng, count, gap)]


def times(rng: Random, count: int, gap: float) -> list[float]:
    """Of a Poisson process, the first at 0."""
    found, now = [], 0.0
    for _ in range(count):
        found.append(now)
        now += rng.expovariate(1 / gap)
    return found


def seconds(first: int, end: int, step: int) -> list[float]:
    """Evenly spaced, ``end`` not included."""
    return [float(second) for second in range(first, end, step)]


def shuffled(rng: Random, models: Iterable[str]) -> list[str]:
    """In an order of chance."""
    found = list(models)
    rng.shuffle(found)
    return found


def loop(model: str, caller: str, count: int, service: float, pause: float) -> list[Arrival]:
    """A caller who sends the next request ``pause`` seconds after the end of the one before."""
    return [Arrival(pause if number else 0.0, model, service, caller) for number in range(count)]


def in_time(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Put in order; of equal times the first stays first."""
    return sorted(arrivals, key=lambda arrival: arrival.at)
