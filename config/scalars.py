"""What plain text means as a value: the core schema of YAML 1.2, and nothing else.

So ``017``, ``12:30``, ``on`` and dates stay what people wrote; where a truth value is wanted, ``values.py`` takes the
older spellings, too. Called by ``load.py``, and by ``macros.py`` for text from the environment.
"""

import re

Scalar = str | int | float | bool | None

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMBERS_BEGIN = frozenset("+-.0123456789")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False
}  # fmt: skip
_MOST_DIGITS = 4000
"""Python refuses to read more."""


def core(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBERS_BEGIN:
        return text
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        if digits.startswith(("0o", "0x")):
            return int(text, 0)
        return int(text) if len(digits) < _MOST_DIGITS else text
    if _FLOAT.fullmatch(text):
        return float(
            text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").lower().replace(".nan", "nan")
        )
    return text
