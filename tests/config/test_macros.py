"""Macros and the environment: that they end. What they mean: the corpus, from ``05-environment.txt`` on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from config.check import load_text

PIECES = st.sampled_from(["${a}", "${b}", "$${c}", "${env.SY_X}", "${", "}", "$", "${PORT}", "${MODEL_ID}", "x", " "])
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), TEXTS, max_size=3), TEXTS, TEXTS)
def test_expansion_ends_and_never_raises(macros: dict[str, str], command: str, name: str) -> None:
    listed = ", ".join(f"{key}: '{value}'" for key, value in macros.items())
    text = (
        f"macros: {{{listed}}}\nmodels: {{m: {{cmd: 'sh {command}', name: '{name}', proxy: 'http://127.0.0.1:1'}}}}\n"
    )
    first, second = load_text(text), load_text(text)
    assert (first.settings, first.problems) == (second.settings, second.problems)
    if first.settings is not None:
        shown = " ".join(first.settings.models["m"].cmd)
        assert "${a}" not in shown
        assert "${b}" not in shown
