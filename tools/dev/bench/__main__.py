"""``make bench``: every benchmark of the repository, one table each. Figures, never tests.

Each case runs ``RUNS`` times, interleaved with the others; all runs are printed, the median first. Times also
stand as a multiple of a calibration loop timed in the same run, so that two machines can be compared.
"""

from tools.dev.bench import config, scheduler


def main() -> None:
    """Run them all."""
    scheduler.main()
    print()
    config.main()


if __name__ == "__main__":
    main()
