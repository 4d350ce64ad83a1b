"""What the loader refuses and a JSON schema cannot: each rule with the complaints that it makes.

Used by the tests that hold schema and loader together; ``swapyard schema`` says it in its description.
"""

import re
from collections.abc import Mapping

from config.check import Loaded
from config.errors import Severity

BEYOND: Mapping[str, str] = {
    "what a name refers to": r"there is no (model|device|policy|eviction rule)|unknown (model|set) |there is no such "
    r"setting|'priority|is not used",
    "whether something stands there twice": r"twice|is already in group|costs \d+ already|has priority|is also a name|"
    r"is also (the full name|model)|is the (id|full name)|is an alias of|used twice",
    "what a macro or the environment stands for": r"means nothing here|found the quoted text|comes from "
    r"too many others|uses itself|make it longer|environment variable|a value from the environment|needs \$\{PORT\}",
    "the language of sets": r"at column \d+|refers to itself|nested more|one decision about it",
    "which models may run together": r"cannot run together|must fit|does not fit|do not fit|needs .* of|more than",
    "what a selector's targets are": r"selectors do not choose|'warm' chooses among",
    "sizes and durations with a unit, out of range": r"expected a size such as|s, expected 5 s or more|"
    r"expected a duration",
    "ports beyond the last one, through startPort": r"its port would be",
    "all of what a URL is": r"which is not a URL|expected a URL|port 0 cannot|a space or a control character",
    "regular expressions": r"no regular expression",
    "addresses of networks": r"expected an address or a network",
    "commands of nothing but comments": r"has no 'cmd'",
    "the file system": r"is a folder|cannot be (written|made)",
    "numbers that JSON has no room for": r"fits into JSON",
    "text that YAML cannot have": r"surrogate pair|NUL",
    "what holds a file together": r"takes a mapping or a list of mappings|a key must be plain text",
    "the name of the default group": r"belongs to the group of models",
}


def beyond(loaded: Loaded) -> bool:
    """Is everything that was refused beyond a schema?"""
    errors = [problem.text for problem in loaded.problems if problem.severity is Severity.ERROR]
    return all(any(re.search(pattern, text) for pattern in BEYOND.values()) for text in errors)
