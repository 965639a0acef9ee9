"""Rows of measured ratios, and the tables made of them."""

import dataclasses
import os
import platform


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure. Without a value it was not measured, and `note` says why. Without a target it is there for comparison only."""

    work: str
    beside: str
    figure: str
    value: float | None
    target: float | None
    unit: str = ""
    note: str = ""

    @property
    def result(self):
        if self.value is None:
            return "NOT MEASURED"
        if self.target is None:
            return ""
        return "met" if self.value <= self.target else "MISSED"


class Rows(list):
    """The rows of one table."""

    def measured(self, work, beside, figure, value, target=None, unit=""):
        self.append(Row(work, beside, figure, value, target, unit))

    def not_measured(self, work, beside, reason):
        self.append(Row(work, beside, "", None, None, note=str(reason)))

    def results(self):
        return {row.result for row in self}

    def table(self):
        lines = ["| work | beside | | measured | target | |", "| --- | --- | --- | --- | --- | --- |"]
        work = None
        for row in self:
            value = row.note if row.value is None else f"{row.value:.2f} {row.unit}" if row.unit else f"{row.value:.3f}"
            target = "" if row.target is None else f"at most {row.target:g} {row.unit}".rstrip()
            lines.append(f"| {'' if row.work == work else row.work} | {row.beside} | {row.figure} | {value} | {target} | {row.result} |")
            work = row.work
        return "\n".join(lines)


def machine():
    """Describes the machine in a few words."""
    lines = open("/proc/cpuinfo", encoding="utf-8") if os.path.exists("/proc/cpuinfo") else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores ({cpu}), {platform.system()} {platform.release().split('-')[0]}"


def replace_between(path, begin, text, end="<!-- end -->"):
    """Replaces what a page has between two comments."""
    before, rest = path.read_text().split(begin)
    path.write_text(before + begin + "\n\n" + text + "\n\n" + end + rest.split(end, 1)[1])
