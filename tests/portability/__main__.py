"""Run the probe natively, on one core, with oneDNN asked for, and on emulated CPUs; compare bytes.

`make bytes` runs all; `make bytes CPUS="Haswell"` emulates only these CPUs, `CPUS=none` none. Exit
code 1 if any digest differs.
"""

import json
import os
import platform
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from digits.zoo.machine import machine

CPUS = ("Haswell", "EPYC-Milan", "Skylake-Client")
_QEMU = "qemu-x86_64"
_TIMEOUT = 1800  # s; emulation is about 60 times slower than the CPU itself
_SHOWN = 12  # hex digits


@dataclass(frozen=True)
class Run:
    """A way to run the probe."""

    name: str
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def main(cpus: Sequence[str]) -> None:
    """Run the probe in every way, print a table, exit with 1 if any digest differs."""
    runs = _runs(cpus)
    found: list[dict[str, str]] = []
    for place, run in enumerate(runs, 1):
        print(f"{place} of {len(runs)}: {run.name}…", flush=True)
        start = time.monotonic()
        digests = _probe(run)
        found.append({"run": run.name, "seconds": f"{time.monotonic() - start:.0f}", **digests})
    parts = [key for key in found[0] if key not in ("run", "seconds")]
    header = ["run", *parts, "s"]
    rows = [[row["run"], *(row[p][:_SHOWN] for p in parts), row["seconds"]] for row in found]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    differing = [part for part in parts if len({row[part] for row in found}) > 1]
    if differing:
        sys.exit(f"bytes: {', '.join(differing)} differ between these runs")
    print(f"The same bytes in all {len(runs)} runs.")


def _runs(cpus: Sequence[str]) -> list[Run]:
    runs = [
        Run(f"this CPU ({machine()['cpu']})"),
        Run("oneDNN asked for", environment={"TF_ENABLE_ONEDNN_OPTS": "1"}),
    ]
    if taskset := shutil.which("taskset"):
        core = min(os.sched_getaffinity(0))
        runs.insert(1, Run("one core", (taskset, "-c", str(core))))
    if cpus and platform.machine() != "x86_64":
        print(f"emulated CPUs are skipped: this machine is {platform.machine()}, not x86_64")
    elif cpus and not shutil.which(_QEMU):
        print(f"emulated CPUs are skipped: {_QEMU} not found ('apt-get install qemu-user')")
    else:
        runs += [Run(f"{cpu} (emulated)", (_QEMU, "-cpu", cpu)) for cpu in cpus]
    return runs


def _probe(run: Run) -> dict[str, str]:
    """Run the probe; an emulator can't start a virtual environment's link, so paths are given."""
    folder = Path(__file__).parent
    paths = [str(folder.parent), str(folder.parents[1] / "src"), *site.getsitepackages()]
    environment = os.environ | run.environment | {"PYTHONPATH": os.pathsep.join(paths)}
    python = str(Path(sys.executable).resolve())
    done = subprocess.run(
        [*run.prefix, python, "-m", "portability.probe"],
        cwd=folder.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and "warning: TCG" not in line]
        sys.exit("\n".join([f"bytes: {run.name}: exit code {done.returncode}", *lines[-3:]]))
    digests: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return digests


if __name__ == "__main__":
    try:
        main([cpu for cpu in sys.argv[1:] if cpu != "none"] if sys.argv[1:] else CPUS)
    except KeyboardInterrupt:
        sys.exit(130)
