"""Compares the program with curl, aria2c, s5cmd and `aws s3 cp` on Ceph and SeaweedFS, at full rate and at 20 MB/s per connection."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

from .processes import MIB, ROOT, Command, NotMeasured, clear, cpu_seconds, measure_in_turn, median
from .report import Rows
from .tools import install_python_packages, python_tool, require

BUCKET, KEY = "exports", "large"
ACCESS_KEY, SECRET_KEY = "benchmark", "benchmark-secret"
SIZE = 300 * MIB
RATE = 20_000_000
LIFETIME = 3600
START_TIME = 60


class Ceph:
    """A cluster with one object store in memory."""

    name = "Ceph"
    programs = ("ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw", "radosgw-admin")

    def __init__(self, directory):
        self.script = [str(ROOT / "benches/ceph")]
        self.directory = str(directory)

    def __enter__(self):
        try:
            start = subprocess.run([*self.script, "start", self.directory], stdout=subprocess.PIPE, text=True)
            if start.returncode != 0:
                raise NotMeasured("Ceph did not start")
        except BaseException:
            self.stop()
            raise
        return start.stdout.strip()

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        subprocess.run([*self.script, "stop", self.directory])


class SeaweedFS:
    """All of its servers in one process."""

    name = "SeaweedFS"
    programs = ()

    def __init__(self, directory):
        self.directory = directory

    def __enter__(self):
        data, keys = self.directory / "data", self.directory / "keys.json"
        data.mkdir(parents=True)
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        identity = {"name": "benchmark", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
        keys.write_text(json.dumps({"identities": [identity]}))

        names = ["master", "volume", "filer", "s3"]
        ports = free_ports(2 * len(names))
        arguments = [f"-{name}.port={ports[2 * i]}" for i, name in enumerate(names)]
        arguments += [f"-{name}.port.grpc={ports[2 * i + 1]}" for i, name in enumerate(names)]
        arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={keys}", "-filer", "-s3"]
        arguments += [f"-{name}.localSocket={self.directory}/{name}.sock" for name in ("filer", "s3")]
        arguments += [f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=16", "-master.volumeSizeLimitMB=1024"]
        # No telemetry.
        arguments += ["-master.telemetry=false", "-metricsPort=0"]
        with open(self.directory / "log", "wb") as log:
            weed = [python_tool("weed"), "-logtostderr=true", "server", *arguments]
            self.process = subprocess.Popen(weed, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory)
        return f"http://127.0.0.1:{ports[-2]}"

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Throttle:
    """The proxy in front of a store, which measures its own load."""

    def __init__(self, endpoint):
        self.port = endpoint.rpartition(":")[2]

    def __enter__(self):
        script = pathlib.Path(__file__).with_name("throttle.py")
        self.process = subprocess.Popen([sys.executable, str(script), self.port, str(RATE)], stdout=subprocess.PIPE, text=True)
        self.endpoint = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"
        self.start = (time.monotonic(), cpu_seconds(self.process.pid))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def load(self):
        """Returns the share of one core that it used since the last call."""
        start, self.start = self.start, (time.monotonic(), cpu_seconds(self.process.pid))
        return (self.start[1] - start[1]) / (self.start[0] - start[0])


class Api:
    """A stand-in for WebAdMIT's API with one run. Each response has a new signed URL."""

    def __init__(self, sign):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                run = {"id": 2, "export_id": 1, "status": "Available", "download_url": sign()}
                body = json.dumps({"export_files": run}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def s3_client(endpoint, signature):
    import boto3
    from botocore.config import Config

    config = Config(signature_version=signature, s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=config,
    )


def upload(endpoint, file):
    """Waits until the store accepts requests, and uploads the file."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(endpoint, "s3v4")
    deadline = time.monotonic() + START_TIME
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.upload_file(str(file), BUCKET, KEY)
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise NotMeasured(f"the store did not accept the file: {error}") from error
            time.sleep(0.2)


class Downloads:
    """The commands that download the file from one endpoint: the program's own, and those of its peers by their names."""

    def __init__(self, program, endpoint):
        client = s3_client(endpoint, "s3")
        # WebAdMIT signs with version 2.
        sign = lambda: client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": KEY}, ExpiresIn=LIFETIME)
        self.api = Api(sign)
        path = {"PATH": os.environ["PATH"]}
        inputs = {"INPUT_API_KEY": "k", "INPUT_EXPORT_ID": "1", "INPUT_EXPORT_FILE_ID": "2", "INPUT_BASE_URL": self.api.url}
        self.own = Command([str(program)], {**path, **inputs})

        aws = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_CONFIG_FILE": os.devnull}
        aws |= {**path, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        source = f"s3://{BUCKET}/{KEY}"
        aria2c = ["aria2c", "--quiet", "-x8", "-s8", "-k1M", "--file-allocation=none", "-o", KEY]
        s5cmd = [python_tool("s5cmd"), "--endpoint-url", endpoint, "--log", "error", "cp", source, KEY]
        aws_cp = [python_tool("aws"), "--endpoint-url", endpoint, "s3", "cp", "--quiet", source, KEY]
        self.peers = {
            "curl": Command(lambda: ["curl", "--silent", "--show-error", "--fail", "-o", KEY, sign()], path),
            "aria2c -x8": Command(lambda: [*aria2c, sign()], path),
            "s5cmd": Command(s5cmd, aws),
            "aws s3 cp": Command(aws_cp, aws),
        }

    def __enter__(self):
        self.api.__enter__()
        return self

    def __exit__(self, *error):
        self.api.__exit__(*error)


@dataclasses.dataclass
class Comparison:
    """Measures the downloads from one store into the rows of one table."""

    store: str
    workspace: pathlib.Path
    digest: str
    rows: Rows
    quick: bool

    def downloads_file(self, command):
        """Runs a command once and checks the file that it leaves. Prints its output if it fails."""
        line = command.line()
        clear(self.workspace)
        here = {"env": command.environment, "cwd": self.workspace, "stdin": subprocess.DEVNULL}
        result = subprocess.run(line, capture_output=True, text=True, **here)
        if result.returncode == 0 and sha256(self.workspace / KEY) == self.digest:
            return True
        print(f"{line[0]} ended with code {result.returncode}:\n{result.stdout}{result.stderr}", file=sys.stderr)
        return False

    def working_peers(self, downloads):
        """Returns the names of the peers that download the file. The program itself must."""
        if not self.downloads_file(downloads.own):
            raise SystemExit(f"webadmit-export did not download the file from {self.store}")
        return [name for name, peer in downloads.peers.items() if self.downloads_file(peer)]

    def full_rate(self, downloads, working):
        peers = [downloads.peers[name] for name in working]
        own, *others = measure_in_turn(3 if self.quick else 11, self.workspace, downloads.own, *peers)
        self.add(f"300 MiB from {self.store}, hashed", downloads, own, dict(zip(working, others)), ["curl", "s5cmd"], 1.1)

    def throttled(self, downloads, working, throttle):
        # One connection takes 16 s with little variation, so curl runs once.
        several = [name for name in working if name != "curl"]
        throttle.load()
        own, *others = measure_in_turn(2 if self.quick else 7, self.workspace, downloads.own, *(downloads.peers[name] for name in several))
        load, others = throttle.load(), dict(zip(several, others))
        if load > 0.5:
            raise NotMeasured(f"the proxy may have been what limited the rate: it used {load:.0%} of one core")

        (curl,) = measure_in_turn(1, self.workspace, downloads.peers["curl"]) if "curl" in working else ([],)
        if curl:
            took, expected = median(curl, "wall"), SIZE / RATE
            if not 0.97 * expected < took < 1.1 * expected:
                raise NotMeasured(f"the proxy did not keep to its rate: curl took {took:.1f} s instead of {expected:.1f} s")
            others["curl"] = curl
        task = f"300 MiB from {self.store}, hashed, at {RATE // 10**6} MB/s per connection"
        self.add(task, downloads, own, others, list(downloads.peers), 1.02)

    def add(self, task, downloads, own, others, compared, target):
        """Adds the ratio to each peer, and a ratio with a target: that to the fastest of those compared."""
        wall = median(own, "wall")
        for name in downloads.peers:
            if name in others:
                self.rows.add(task, name, "wall time", wall / median(others[name], "wall"))
            else:
                self.rows.add_not_measured(task, name, "it did not download the file")

        missing = [name for name in compared if name not in others]
        fastest_peer = f"the fastest of {', '.join(compared)}" if compared != list(downloads.peers) else "the fastest of them"
        if missing:
            self.rows.add_not_measured(task, fastest_peer, f"without {', '.join(missing)}")
        else:
            fastest = min(median(others[name], "wall") for name in compared)
            self.rows.add(task, fastest_peer, "wall time", wall / fastest, target, is_for_page=False)


def sha256(path):
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(MIB):
            digest.update(block)
        return digest.hexdigest()
    return None


def measure_store(kind, program, file, work, comparison):
    """Measures one store at both rates."""
    require(*kind.programs)
    with kind(work / kind.name) as endpoint:
        upload(endpoint, file)
        with Downloads(program, endpoint) as downloads:
            working = comparison.working_peers(downloads)
            comparison.full_rate(downloads, working)
        with Throttle(endpoint) as throttle, Downloads(program, throttle.endpoint) as downloads:
            comparison.throttled(downloads, working, throttle)


def measure_stores(program, work, workspace, quick):
    """Measures all stores. A store that cannot run on this machine gets a row that says so."""
    rows = Rows()
    try:
        require("curl", "aria2c")
        install_python_packages()
    except NotMeasured as reason:
        rows.add_not_measured("300 MiB from Ceph and SeaweedFS", "", reason)
        return rows

    file = work / "large"
    block = os.urandom(SIZE)
    file.write_bytes(block)
    digest = hashlib.sha256(block).hexdigest()
    del block
    for kind in (Ceph, SeaweedFS):
        try:
            measure_store(kind, program, file, work, Comparison(kind.name, workspace, digest, rows, quick))
        except NotMeasured as reason:
            rows.add_not_measured(f"300 MiB from {kind.name}", "", reason)
    return rows
