"""A stand-in for WebAdMIT whose runs take a fixed time. It also serves their files, over plain http on loopback."""

import http.server
import json
import threading
import time

IDENTITY = 305
FILE = b"900000001,Example,Jane,Made-up Public Health,3.5\r\n" * 200


class Api:
    """A server with exports 1, 2, …, as a context manager. A run that was started ends after `seconds`."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.started = {}
        self.last_run = 1000
        self.lock = threading.Lock()

    def __enter__(self):
        handler = type("Handler", (Handler,), {"api": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def start(self, export):
        """Starts a run, or returns the one in progress."""
        with self.lock:
            run, start = self.started.get(export, (0, 0.0))
            if run == 0 or time.monotonic() - start >= self.seconds:
                self.last_run += 1
                self.started[export] = (self.last_run, time.monotonic())
            return self.described(export)

    def described(self, export, has_url=False):
        run, start = self.started[export]
        has_ended = time.monotonic() - start >= self.seconds
        url = {"download_url": f"{self.url}/files/{export}"} if has_url and has_ended else {}
        return {"id": run, "export_id": export, "status": "Available" if has_ended else "In Progress", **url}

    def all_runs(self):
        with self.lock:
            return [self.described(export) for export in self.started]


class Handler(http.server.BaseHTTPRequestHandler):
    """Responds as the API and its store do."""

    api: Api
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802 (the name is given)
        export = int(self.path.split("/")[6])
        self.send_json(201, {"export_files": self.api.start(export)})

    def do_GET(self):  # noqa: N802
        parts = self.path.strip("/").split("/")
        if parts[0] == "files":
            name = f'attachment; filename="export-{parts[1]}.csv"'
            self.send(200, FILE, {"Content-Disposition": name, "Content-Type": "text/csv", "ETag": f'"{parts[1]}"'})
        elif parts[2] == "user_identities":
            self.send_json(200, {"export_files": self.api.all_runs()})
        else:
            self.send_json(200, {"export_files": self.api.described(int(parts[3]), has_url=True)})

    def send_json(self, status, body):
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def send(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
