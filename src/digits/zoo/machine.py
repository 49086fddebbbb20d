"""What this machine is, without its name."""

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The hardware and system that something was made or measured on."""
    linux = hasattr(os, "sched_getaffinity")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if linux else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu() -> str:
    """The processor's name from Linux, else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
