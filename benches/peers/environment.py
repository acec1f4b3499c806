"""The peers' environment, and what this machine is: for the commands that measure beside torch."""

import os
import pathlib
import platform
import re
import subprocess
import sys
import time

TORCH = "torch==2.15.*"


def say(text):
    print(text, file=sys.stderr, flush=True)


def go(command, **more):
    """Runs a command, its output on stderr; ends the program where it fails."""
    result = subprocess.run([str(part) for part in command], stdout=sys.stderr, **more)
    if result.returncode != 0:
        sys.exit(f"peers: failed: {' '.join(map(str, command))}")


def environment(place, package, module):
    """The python of a virtual environment that has a package; made if it is not there."""
    python = place / "bin" / "python"
    if not python.exists():
        say(f"making {place}")
        go([sys.executable, "-m", "venv", place])
    if module and subprocess.run([str(python), "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0:
        return python
    say(f"installing {package}")
    extra = os.environ.get("PEERS_PIP_ARGS", "").split()
    go([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, *extra])
    return python


def cache():
    """The folder of all peers."""
    place = pathlib.Path(os.environ.get("PEERS_CACHE", pathlib.Path.home() / ".cache/batchnorm/peers"))
    place.mkdir(parents=True, exist_ok=True)
    return place


def torch():
    """The python that has torch. Where another environment is reused, nothing is installed into it unless torch is missing."""
    return environment(pathlib.Path(os.environ.get("PEERS_VENV", cache() / "torch")), TORCH, "torch")


def processor():
    try:
        models = re.findall(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
        return models[0] if models else platform.processor()
    except OSError:
        return platform.processor()


def threads_a_core():
    """As lscpu has it, which in a virtual machine may not be so."""
    found = re.search(r"^Thread\(s\) per core:\s*(\d+)", output_of(["lscpu"], env=os.environ | {"LC_ALL": "C"}), re.M)
    return int(found[1]) if found else "unknown"


def busy(seconds=2):
    """The share of all processors that others use now. (A load average would remember our own build.)"""

    def ticks():
        numbers = [int(number) for number in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # all, idle and waiting for a disk

    all_before, idle_before = ticks()
    time.sleep(seconds)
    all_after, idle_after = ticks()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def output_of(command, **more):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, **more).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
