"""The table and the JSON of a run whose numbers are known."""

import json

from tests.tools.simulate.cases import FIFO, Arrival, Choice, Cost, run, scenario
from tools.simulate.report import Row, as_json, as_table

CASE = scenario(
    [Arrival(0, "a", 6, "ann"), Arrival(1, "b", 2, "bob"), Arrival(2, "b", 2, "bob", deadline=3)],
    {"a": Cost(10, 3), "b": Cost(4)},
)
ROW = Row("fifo", run(CASE, FIFO))


def lines(text: str) -> list[list[str]]:
    return [line.replace(" %", "%").split() for line in text.splitlines()]


def test_the_table_of_one_policy_has_a_row_for_it_and_for_each_model_and_caller() -> None:
    found = lines(as_table([ROW]))
    names = ["swaps", "wasted", "serving", "mean", "p50", "p95", "p99", "max"]
    names += ["served", "refused", "missed", "left", "open", "Jain"]
    assert found[0] == ["policy", *names]
    # 8 of 25 s; waits 10 and 22; ann is served 6 of 16 s, bob 2 of 24 (1 to 25).
    jain = (6 / 16 + 2 / 24) ** 2 / (2 * ((6 / 16) ** 2 + (2 / 24) ** 2))
    assert found[1] == [
        "fifo",
        "2",
        "0",
        "32.0%",
        "16.0",
        "10.0",
        *["22.0"] * 3,
        "2",
        "1",
        "1",
        "0",
        "0",
        f"{jain:.3f}",
    ]
    assert found[3][:3] == ["model", "swaps", "wasted"]
    assert found[4] == ["a", "1", "0", "1", "1", "0", "0", "0", "6.0", *["10.0"] * 5]
    assert found[5] == ["b", "1", "0", "2", "1", "1", "1", "0", "2.0", *["22.0"] * 5]
    assert found[8] == ["ann", "1", "1", "0", "0", "0", "6.0", *["10.0"] * 5]


def test_callers_without_a_name_have_no_table() -> None:
    assert "\ncaller" not in as_table([Row("fifo", run(scenario([Arrival(0, "a", 1)], Cost(1)), FIFO))])


def test_several_policies_are_a_row_each_and_one_that_is_missing_says_why() -> None:
    text = as_table([ROW, Row("strict", run(CASE, Choice.of("arrival-order"))), Row("best", None, "best: too large")])
    assert [line[0] for line in lines(text)[:4]] == ["policy", "fifo", "strict", "best"]
    assert set(lines(text)[3][1:]) == {"-"}
    assert "\nbest: too large\n" in text
    assert "\nmodel" not in text


def test_mistakes_of_a_policy_are_told() -> None:
    record = run(CASE, FIFO)
    record.complain("names 'x', which does not run")
    assert "fifo: a mistake of the policy or the eviction rule: names 'x', which does not run" in as_table(
        [Row("fifo", record)]
    )


def test_the_json_has_everything_by_model_and_caller() -> None:
    found = json.loads(as_json({"profile": "none"}, [ROW, Row("best", None, "too large")]))
    assert found["profile"] == "none"
    fifo, best = found["policies"]
    assert best == {"policy": "best", "missing": "too large"}
    assert (fifo["policy"], fifo["swaps"], fifo["wastedLoads"], fifo["span"]) == ("fifo", 2, 0, 25.0)
    assert (fifo["shareServing"], fifo["waits"]["mean"], fifo["waits"]["max"]) == (0.32, 16.0, 22.0)
    assert (fifo["asked"], fifo["served"], fifo["refused"], fifo["deadlineMisses"], fifo["left"]) == (3, 2, 1, 1, 0)
    assert fifo["refusals"] == {"timed_out": 1}
    assert fifo["callers"]["bob"]["present"] == 24.0
    assert fifo["models"]["b"]["waits"] == dict.fromkeys(("mean", "p50", "p95", "p99", "max"), 22.0)
    assert fifo["mistakes"] == []


def test_a_record_without_a_single_grant_has_no_waits() -> None:
    record = run(scenario([Arrival(0, "a", 1, deadline=1)], Cost(5)), FIFO)
    assert lines(as_table([Row("fifo", record)]))[1][4:9] == ["-"] * 5
    assert json.loads(as_json({}, [Row("fifo", record)]))["policies"][0]["waits"]["p99"] is None
