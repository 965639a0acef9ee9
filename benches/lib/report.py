"""Rows of results, and the tables made from them."""

import dataclasses
import os
import platform


@dataclasses.dataclass(frozen=True)
class Row:
    """One result. Without a value it was not measured, and `note` says why. Without a target it is only for comparison."""

    task: str
    peer: str
    quantity: str
    value: float | None
    target: float | None
    unit: str = ""
    note: str = ""
    is_for_page: bool = True

    @property
    def shown(self):
        if self.value is None:
            return self.note
        return f"{self.value:.2f} {self.unit}" if self.unit else f"{self.value:.3f}"

    @property
    def result(self):
        if self.value is None:
            return "NOT MEASURED"
        if self.target is None:
            return ""
        return "met" if self.value <= self.target else "MISSED"


class Rows(list):
    """The rows of one table."""

    def add(self, task, peer, quantity, value, target=None, unit="", is_for_page=True):
        self.append(Row(task, peer, quantity, value, target, unit, is_for_page=is_for_page))

    def add_not_measured(self, task, peer, reason):
        self.append(Row(task, peer, "", None, None, note=str(reason)))

    def results(self):
        return {row.result for row in self}

    def table(self):
        """Returns the table as docs/benchmarks.md has it."""
        rows = [(row.task, row.peer, row.quantity, row.shown) for row in self if row.is_for_page]
        return markdown(("task", "compared with", "quantity", "result"), rows)

    def table_with_targets(self):
        rows = []
        for row in self:
            target = "" if row.target is None else f"at most {row.target:g} {row.unit}".rstrip()
            rows.append((row.task, row.peer, row.quantity, row.shown, target, row.result))
        return markdown(("task", "compared with", "quantity", "result", "target", ""), rows)


def markdown(header, rows):
    """Returns a Markdown table. A first cell that repeats the one above is left empty."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    task = None
    for row in rows:
        first = "" if row[0] == task else row[0]
        lines.append("| " + " | ".join((first, *row[1:])) + " |")
        task = row[0]
    return "\n".join(lines)


def machine():
    """Describes the machine in a few words."""
    lines = open("/proc/cpuinfo", encoding="utf-8") if os.path.exists("/proc/cpuinfo") else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores ({cpu}), {platform.system()} {platform.release().split('-')[0]}"


def replace_between(path, begin, text, end="<!-- end -->"):
    """Replaces the text of a page between two comments."""
    before, rest = path.read_text().split(begin)
    path.write_text(before + begin + "\n\n" + text + "\n\n" + end + rest.split(end, 1)[1])
