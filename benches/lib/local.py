"""Compares the program with common tools on nginx over TLS: one job, a large file, slow connections, text."""

import dataclasses
import os
import pathlib
import subprocess

from .api import IDENTITY, Api
from .nginx import Nginx
from .processes import Command, NotMeasured, build_hash_pass, measure, measure_in_turn, median, resident_memory
from .report import Rows
from .tools import require


@dataclasses.dataclass
class Local:
    """The program, the server and the rows that all parts use."""

    program: pathlib.Path
    workspace: pathlib.Path
    server: Nginx
    rows: Rows
    quick: bool

    def __post_init__(self):
        self.environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(self.server.bundle)}
        self.curl = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(self.server.bundle)]

    def runs(self, number, quick):
        return quick if self.quick else number

    def own(self, **inputs):
        """Returns the command of the program, which downloads the file that the server offers."""
        given = {"INPUT_API_KEY": "k", "INPUT_EXPORT_ID": "1", "INPUT_EXPORT_FILE_ID": "2", **inputs}
        return Command([str(self.program)], {**self.environment, "INPUT_BASE_URL": "https://localhost:8443", **given})

    def other(self, *arguments):
        return Command(list(arguments), self.environment)

    def shell(self, script):
        return self.other("bash", "-c", script)

    def download(self, name, url):
        """Returns a shell command that saves a URL with curl."""
        return f'{" ".join(self.curl)} -o {name} "{url}"'

    def wall(self, task, peer, own, other, target):
        self.rows.add(task, peer, "wall time", median(own, "wall") / median(other, "wall"), target)

    def cpu(self, task, peer, own, other, target):
        self.rows.add(task, peer, "CPU time", median(own, "cpu") / other, target)

    def memory(self, task, command, target):
        self.rows.add(task, "", "peak memory", resident_memory(command, self.workspace), target, "MB")


def one_job(local):
    """Compares the whole job with a shell script."""
    require("bash", "curl", "jq", "sha256sum")
    local.server.offer("small", 8443)
    status = "https://localhost:8443/api/v1/exports/1/export_files/2"
    url = f"url=$({' '.join(local.curl)} -H 'x-api-key: k' {status} | jq -r .export_files.download_url)"
    script = local.shell(f"{url} && {local.download('small', '$url')} && sha256sum small")
    own, others = measure_in_turn(local.runs(33, 15), local.workspace, local.own(), script)

    task = "one job: status call, 10 KB file, SHA-256"
    local.wall(task, "bash, curl, jq, sha256sum", own, others, 0.08)
    local.memory(task, local.own(), 5.0)


def large_file(local):
    """Compares CPU time and wall time for a large file. The cost of hashing depends on the machine, so it is measured, too."""
    require("bash", "curl", "wget", "openssl", "sha256sum", "cargo")
    url, mib = local.server.offer("large", 8443), local.server.large_mib
    save = local.download("large", url)
    own, curl, wget, hashing, dgst, sums = measure_in_turn(
        local.runs(11, 5),
        local.workspace,
        local.own(),
        local.other(*local.curl, "-o", "large", url),
        local.other("wget", "-q", "--ca-certificate", str(local.server.bundle), "-O", "large", url),
        local.other(str(build_hash_pass()), str(mib)),
        local.shell(f"{save} && openssl dgst -sha256 large"),
        local.shell(f"{save} && sha256sum large"),
    )

    task = f"{mib} MiB over TLS, hashed"
    hash_pass = median(hashing, "cpu")
    local.cpu(task, "curl, plus one pass of SHA-256 over memory", own, median(curl, "cpu") + hash_pass, 1.05)
    local.cpu(task, "wget, plus one pass of SHA-256 over memory", own, median(wget, "cpu") + hash_pass, 1.05)
    local.cpu(task, "curl, then openssl dgst", own, median(dgst, "cpu"), 0.85)
    local.wall(task, "curl, then sha256sum", own, sums, 0.45)
    local.memory(task, local.own(), 6.0)


def slow_connections(local):
    """Compares wall time if the rate of each connection is limited, as on S3."""
    require("curl", "aria2c")
    url = local.server.offer("middle", 8444)
    trust = f"--ca-certificate={local.server.bundle}"
    aria2c = local.other("aria2c", "--quiet", "-x8", "-s8", "-k1M", "--file-allocation=none", trust, "-o", "middle", url)
    own, aria2c_figures = measure_in_turn(local.runs(7, 3), local.workspace, local.own(), aria2c)
    (curl,) = measure_in_turn(local.runs(3, 1), local.workspace, local.other(*local.curl, "-o", "middle", url))

    task = "200 MB, hashed, at 20 MB/s per connection"
    local.wall(task, "curl", own, curl, 0.165)
    local.wall(task, "aria2c -x8, which does not hash", own, aria2c_figures, 1.05)
    local.memory(task, local.own(), 16.0)


def text(local):
    """Compares the conversion to UTF-8 with no conversion, and with common tools."""
    require("bash", "curl", "iconv", "sha256sum")
    in_utf_8, runs = local.own(INPUT_ENCODING="utf-8"), local.runs(7, 3)
    local.server.offer("middle.csv", 8444)
    converted, as_sent = measure_in_turn(runs, local.workspace, in_utf_8, local.own())
    task = "200 MB of text to UTF-8, at 20 MB/s per connection"
    local.wall(task, "no conversion", converted, as_sent, 1.1)

    url = local.server.offer("large.csv", 8443)
    save = local.download("large", url)
    iconv = local.shell(f"{save} && iconv -f iso-8859-1 -t utf-8 large > text && sha256sum text")
    converted, as_sent, others = measure_in_turn(runs, local.workspace, in_utf_8, local.own(), iconv)
    task = f"{local.server.large_mib} MiB of text to UTF-8, over TLS"
    local.wall(task, "no conversion", converted, as_sent, 1.8)
    local.wall(task, "curl, iconv, sha256sum", converted, others, 0.6)
    local.memory(task, in_utf_8, 16.0)


def several_exports(local):
    """Compares several exports in one step with one export, and with one step after another."""
    seconds, count = (3 if local.quick else 30), 10
    ids = [str(export) for export in range(1, count + 1)]
    with Api(seconds) as api:
        inputs = {"INPUT_BASE_URL": api.url, "INPUT_USER_IDENTITY_ID": str(IDENTITY), "INPUT_EXPORT_FILE_ID": ""}

        def fetch(*exports):
            return local.own(**inputs, INPUT_EXPORT_ID=" ".join(exports))

        one, several = measure_in_turn(local.runs(3, 1), local.workspace, fetch(ids[0]), fetch(*ids))
        each = [measure(fetch(export), local.workspace) for export in ids]

    task = f"{count} exports of {seconds} s each, in one step"
    wall = median(several, "wall")
    local.rows.add(task, "1 export", "wall time", wall / median(one, "wall"), 1.1)
    local.rows.add(task, "one step after another", "wall time", wall / sum(step.wall for step in each), None)


def several_files(local):
    """Compares the downloads of one step with one step after another, if the rate of each connection is limited."""

    def fetch(*exports):
        runs = [str(int(export) + 1000) for export in exports]
        return local.own(INPUT_EXPORT_ID=" ".join(exports), INPUT_EXPORT_FILE_ID=" ".join(runs))

    ids = [str(export) for export in range(1, 21)]
    for export in ids:
        local.server.offer_run(export, str(int(export) + 1000), "twenty", 8444)
    (several,) = measure_in_turn(local.runs(5, 3), local.workspace, fetch(*ids[:10]))
    each = [measure(fetch(export), local.workspace) for export in ids[:10]]

    task = "10 files of 20 MB, at 20 MB/s per connection, in one step"
    wall = median(several, "wall")
    local.rows.add(task, "one step after another", "wall time", wall / sum(step.wall for step in each), 0.25)
    local.memory("20 files of 20 MB in one step", fetch(*ids), 24.0)


PARTS = {
    "one job": one_job,
    "a large file over TLS, hashed": large_file,
    "a large file over slow connections": slow_connections,
    "text to UTF-8": text,
    "several exports": several_exports,
    "several files": several_files,
}


def measure_local(program, work, workspace, quick):
    """Measures all parts. A part that cannot run on this machine gets a row that says so."""
    rows = Rows()
    try:
        require("nginx", "openssl", "/usr/bin/time")
    except NotMeasured as reason:
        for name in PARTS:
            rows.add_not_measured(name, "", reason)
        return rows

    with Nginx(work, large_mib=256 if quick else 1024) as server:
        local = Local(program, workspace, server, rows, quick)
        for name, part in PARTS.items():
            try:
                part(local)
            except NotMeasured as reason:
                rows.add_not_measured(name, "", reason)

    compressed = len(subprocess.run(["gzip", "-9", "--stdout", program], check=True, stdout=subprocess.PIPE).stdout)
    rows.add("size of the program", "", "gzipped", compressed / 1e6, 2.2, "MB")
    return rows
