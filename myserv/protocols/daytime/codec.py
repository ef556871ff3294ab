"""
The line that tells the time.

RFC 867, "Daytime Syntax", requires none in particular: "It is recommended that
it be limited to the ASCII printing characters, space, carriage return, and line
feed.  The daytime should be just one line."  Of the two that it calls popular
this is the first: "Weekday, Month Day, Year Time-Zone", as in "Tuesday, February
22, 1982 17:37:43-PST".
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

# Not strftime's: those speak the language of whoever started the server.
WEEKDAYS: Final = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def formatDaytime(seconds: float, zone: tzinfo) -> bytes:
    """
    Tell the time.

    Args:
        seconds: Since 1970-01-01 00:00 UTC.
        zone: Where.

    Returns:
        One line of ASCII with its CR LF.
    """
    now = datetime.fromtimestamp(seconds, zone)
    name = str(now.tzname())
    # Zones without an abbreviation are named by their offset: +0530, -03.
    hyphen = "" if name.startswith(("+", "-")) else "-"
    return (
        f"{WEEKDAYS[now.weekday()]}, {MONTHS[now.month - 1]} {now.day}, {now.year}"
        f" {now:%H:%M:%S}{hyphen}{name}\r\n"
    ).encode("ascii")
