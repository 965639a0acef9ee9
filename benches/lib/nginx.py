"""nginx over TLS. It serves WebAdMIT's responses and the files; one port limits each connection to 20 MB/s."""

import json
import os
import pathlib
import subprocess

from .processes import MIB, output


class Nginx:
    """A server with files of several sizes, as a context manager."""

    def __init__(self, directory, large_mib):
        self.directory = directory
        self.large_mib = large_mib
        self.bundle = directory / "bundle.pem"
        self.files = directory / "www"
        self.configuration = directory / "nginx.conf"

    def __enter__(self):
        self.files.mkdir()
        self.create_certificates()
        self.create_files()
        self.configuration.write_text(f"""
            worker_processes 1; pid {self.directory}/nginx.pid; error_log {self.directory}/error.log;
            {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections 256; }}
            http {{
                access_log off; sendfile on; default_type application/octet-stream; root {self.files};
                types {{ "text/csv;charset=iso-8859-1" csv; }}
                ssl_certificate {self.directory}/server.pem; ssl_certificate_key {self.directory}/server.key;
                server {{ listen 127.0.0.1:8443 ssl; }}
                server {{ listen 127.0.0.1:8444 ssl; limit_rate 20000000; }}
            }}""")
        self.nginx()
        return self

    def __exit__(self, *_):
        self.nginx("-s", "stop")

    def nginx(self, *arguments):
        subprocess.run(["nginx", "-p", str(self.directory), "-c", str(self.configuration), *arguments], check=True)

    def create_certificates(self):
        """Creates a certificate authority, adds it to a copy of the system's bundle, and creates a certificate for the server."""
        key = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
        here = {"cwd": self.directory}
        output([*key, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Benchmark"], **here)
        output([*key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"], **here)
        (self.directory / "extensions").write_text("subjectAltName=DNS:localhost")
        sign = ["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        output([*sign, "-days", "2", "-out", "server.pem", "-extfile", "extensions"], **here)

        system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        self.bundle.write_text((system.read_text() if system.exists() else "") + (self.directory / "ca.pem").read_text())

    def create_files(self):
        block = os.urandom(MIB)
        self.create_file("small", 10_240, block)
        self.create_file("twenty", 20_000_000, block)
        self.create_file("middle", 200_000_000, block)
        self.create_file("large", self.large_mib * MIB, block)

        # Made-up applicants in ISO-8859-1, as WebAdMIT sends them. Some names are not ASCII.
        plain = "900000001,Example,Jane,Made-up Public Health,3.5\r\n"
        lines = (plain * 9 + plain.replace("Jane", "Jürgen")).encode("iso-8859-1") * (MIB // 500)
        self.create_file("middle.csv", 200_000_000, lines)
        self.create_file("large.csv", self.large_mib * MIB, lines)

    def create_file(self, name, size, block):
        with open(self.files / name, "wb") as file:
            while file.tell() < size:
                file.write(block[: size - file.tell()])

    def offer(self, file, port):
        """Makes this the file of run 2 of export 1 in the API on port 8443. Returns its URL."""
        url = f"https://localhost:{port}/{file}"
        self.publish("1", "2", url)
        return url

    def offer_run(self, export, run, file, port):
        """Makes this the file of a run. Each export has a file name of its own."""
        name = f"attachment;%20filename=export-{export}.bin"
        self.publish(export, run, f"https://localhost:{port}/{file}?response-content-disposition={name}")

    def publish(self, export, run, url):
        directory = self.files / f"api/v1/exports/{export}/export_files"
        directory.mkdir(parents=True, exist_ok=True)
        response = {"export_files": {"id": int(run), "export_id": int(export), "status": "Available", "download_url": url}}
        (directory / run).write_text(json.dumps(response))
