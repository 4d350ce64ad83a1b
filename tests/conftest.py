"""For all tests: what property tests saw is printed at the end, whether they passed or not."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made depends on what else the machine does, and decides nothing.
settings.register_profile("swapyard", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("swapyard")

SAW = "saw"


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line for the summary, such as how often each class of event occurred."""
    return lambda line: request.node.user_properties.append((SAW, line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Called by pytest at the end, in the one process that prints."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = sorted(
        f"{report.nodeid.rpartition('/')[2]}: {line}"
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, line in report.user_properties
        if name == SAW
    )
    if lines:
        terminalreporter.section("what the property tests saw")
        for line in lines:
            terminalreporter.write_line(line)
