"""Activity by day as a heat map: a column per week, a row per weekday."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

_WEEK = 7
_WEEKS = 53
_DAYS = ("Mon", "", "Wed", "", "Fri", "", "Sun")
_SHADES = "·░▒▓█"
_ASCII_SHADES = ".:+*#"
_LEFT = 4


def activity_rows(
    messages: Mapping[date, int], today: date, width: int, *, unicode: bool = True
) -> list[str]:
    """Return the weeks up to today, from the first one with activity, as far as they fit.

    Args:
        messages: number of messages by day.
        today: last day shown.
        width: available columns.
        unicode: block shades can be displayed.

    Returns:
        A row of months, a row per weekday and a legend; empty without activity in that time.
    """
    max_weeks = max(1, min(_WEEKS, width - _LEFT - 3))  # a month name may start in the last column
    this_week = today - timedelta(days=today.weekday())
    begin = this_week - timedelta(weeks=max_weeks - 1)
    shown = {day: number for day, number in messages.items() if number and begin <= day <= today}
    if not shown:
        return []
    first = min(shown)
    begin = first - timedelta(days=first.weekday())
    weeks = [begin + timedelta(weeks=n) for n in range((this_week - begin).days // _WEEK + 1)]
    shades, maximum = _SHADES if unicode else _ASCII_SHADES, max(shown.values())
    rows = [" " * _LEFT + _months(weeks)]
    for place, name in enumerate(_DAYS):
        days = (week + timedelta(days=place) for week in weeks)
        cells = (_shade(shown.get(day, 0), maximum, shades) for day in days if day <= today)
        rows.append(name.ljust(_LEFT) + "".join(cells))
    legend = f"{'':{_LEFT}}less {shades} more"
    if len(legend) <= width:
        rows.append(legend)
    return [row.rstrip() for row in rows]


def _shade(number: int, maximum: int, shades: str) -> str:
    """Return the shade of a day: the lightest for little activity, the darkest for the maximum."""
    darkest = len(shades) - 1
    return shades[-(-number * darkest // maximum)]


def _months(weeks: list[date]) -> str:
    """Return the month names, each above its first week; one that the next would overlap is left out."""
    starts = [n for n, week in enumerate(weeks) if n == 0 or week.month != weeks[n - 1].month]
    line = ""
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        if following is None or following > start + 3:
            line = line.ljust(start) + f"{weeks[start]:%b}"
    return line
