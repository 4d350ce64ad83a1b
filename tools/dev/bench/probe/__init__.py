"""A folder for ``PYTHONPATH``, so that a worker under test starts with ``sitecustomize.py``."""
