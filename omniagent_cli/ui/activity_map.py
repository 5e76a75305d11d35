"""Activity by day as a map: a column for each week, a row for each day of the week, darker where more was said."""

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
    """Lay out the weeks up to today, from the first in which something was said, as far as they fit.

    Args:
        messages: how many were written on a day.
        today: the last day shown.
        width: columns there are.
        unicode: whether shades of blocks can be shown.

    Returns:
        A row of months and a row for each day of the week; none when nothing was said in that time.
    """
    max_weeks = max(
        1, min(_WEEKS, width - _LEFT - 3)
    )  # the name of a month may begin in the last column
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
    return [row.rstrip() for row in rows]


def _shade(number: int, maximum: int, shades: str) -> str:
    """Return the shade of a day: the lightest for a little, the darkest for the most."""
    darkest = len(shades) - 1
    return shades[-(-number * darkest // maximum)]


def _months(weeks: list[date]) -> str:
    """Write the name of a month above its first week, where it does not run into the one before."""
    line = ""
    for place, week in enumerate(weeks):
        new = place == 0 or week.month != weeks[place - 1].month
        if new and (not line or len(line) < place):
            line = line.ljust(place) + f"{week:%b}"
    return line
