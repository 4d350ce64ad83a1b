"""What a benchmark says instead of a traceback."""


class CannotMeasure(Exception):
    """Nothing can be measured, or not this target: one text for people."""
