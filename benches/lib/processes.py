"""Runs programs and measures them: wall time, CPU time, memory."""

import dataclasses
import os
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "target/benchmark"
MIB = 1 << 20


class NotMeasured(Exception):
    """Something that a measurement needs is missing on this machine; the message says what."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line with its environment. A callable is called before each run, for arguments that expire."""

    arguments: object
    environment: dict

    def line(self):
        return self.arguments() if callable(self.arguments) else self.arguments


@dataclasses.dataclass(frozen=True)
class Figures:
    """Wall time and CPU time of one run, in seconds."""

    wall: float
    cpu: float


def output(command, **options):
    """Returns what a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **{"stderr": subprocess.PIPE, **options}).stdout


def clear(directory):
    for path in directory.iterdir():
        path.unlink()


def measure(command, directory):
    """Runs a command once in an empty directory."""
    line = command.line()
    clear(directory)

    start = time.monotonic()
    process = subprocess.Popen(
        line, env=command.environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)

    if process.returncode != 0:
        raise SystemExit(f"{line[0]} ended with code {process.returncode}: {' '.join(line[1:])}")
    return Figures(wall, usage.ru_utime + usage.ru_stime)


def measure_in_turn(runs, directory, *commands):
    """Runs the commands in turn (A B A B), so other load on the machine affects all of them. Returns a list of figures for each."""
    figures = [[] for _ in commands]
    for _ in range(runs):
        for results, command in zip(figures, commands):
            results.append(measure(command, directory))
    return figures


def median(figures, name):
    return statistics.median(getattr(figure, name) for figure in figures)


def resident_memory(command, directory):
    """Returns the peak of a command's resident memory in MB. A child of Python inherits Python's own peak; GNU time is small enough."""
    clear(directory)
    timed = ["/usr/bin/time", "--format", "%M", *command.line()]
    stderr = subprocess.run(timed, check=True, env=command.environment, cwd=directory, capture_output=True, text=True).stderr
    return int(stderr.splitlines()[-1]) / 1000


def cpu_seconds(pid):
    """Returns the CPU time that a running process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def build_program():
    """Builds the program as it is released."""
    return cargo_build("--bin", "webadmit-export") / "webadmit-export"


def build_hash_pass():
    """Builds hash_memory with the same optimization as the program."""
    return cargo_build("--example", "hash_memory") / "examples/hash_memory"


def cargo_build(*target):
    subprocess.run([ROOT / "scripts/build-release", "--quiet", "--target-dir", TARGET, *target], check=True)
    return TARGET / output(["rustc", "--print", "host-tuple"]).strip() / "release"
