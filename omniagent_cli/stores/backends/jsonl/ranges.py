"""Ascending ranges of positions, both ends included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

Ranges = list[tuple[int, int]]


def holds(ranges: Ranges, position: int) -> bool:
    """Return True if a position is in one of the ranges."""
    return any(first <= position <= last for first, last in ranges)


def count(ranges: Ranges) -> int:
    """Return the number of positions."""
    return sum(last - first + 1 for first, last in ranges)


def without(ranges: Ranges, first: int, last: int) -> Ranges:
    """Return ranges without the positions from `first` to `last`."""
    kept = [(a, min(b, first - 1)) for a, b in ranges] + [(max(a, last + 1), b) for a, b in ranges]
    return sorted({(a, b) for a, b in kept if a <= b})


def joined(ranges: Ranges) -> Ranges:
    """Return ranges in order, adjacent ones joined."""
    found: Ranges = []
    for first, last in sorted(ranges):
        if found and first == found[-1][1] + 1:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def spans(positions: Sequence[int]) -> Ranges:
    """Return the ranges of ascending positions."""
    groups = groupby(enumerate(positions), key=lambda pair: pair[1] - pair[0])
    members = ([position for _, position in group] for _, group in groups)
    return [(group[0], group[-1]) for group in members]
