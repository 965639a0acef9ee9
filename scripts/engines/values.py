"""Checks the values of fields: those with a few choices, schedules and durations."""

import re

from engines.fields import CHOICES

CRON_FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
# The input timeout, in seconds. The engine has to wait longer.
INPUT_TIMEOUT = 3600


def check_schedule(text):
    times = text.split()
    assert len(times) == len(CRON_FIELDS), f"the schedule {text} has {len(times)} fields"
    for time, (first, last) in zip(times, CRON_FIELDS):
        assert time == "*" or time.isdecimal() and first <= int(time) <= last, f"{time} in the schedule {text}"


def parse_duration(text, units="hms"):
    """Returns the seconds of a duration such as 1h15m."""
    match = re.fullmatch("".join(rf"(?:(\d+){unit})?" for unit in units), text)
    assert match and any(match.groups()), f"{text} is not a duration"
    return sum(int(number or 0) * factor for number, factor in zip(match.groups(), [3600, 60, 1]))


def parse_iso_duration(text):
    """Returns the seconds of a duration such as PT75M."""
    assert text.startswith("PT"), f"{text} is not a duration of ISO 8601"
    return parse_duration(text.removeprefix("PT"), "HMS")


def fields(node, path=""):
    """Yields the path and the value of each field."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{path}.{key}", value
            yield from fields(value, f"{path}.{key}")
    elif isinstance(node, list):
        for item in node:
            yield from fields(item, path)


def check_values(document):
    for path, value in fields(document):
        for end, choices in CHOICES.items():
            assert not path.endswith(f".{end}") or value in choices, f"{path} is {value}"
        if path.endswith((".schedule", ".cron")):
            check_schedule(value)
        if path.endswith(".schedules"):
            assert value, f"{path} is empty"
            for schedule in value:
                check_schedule(schedule)
