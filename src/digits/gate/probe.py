"""`python -m digits.gate.probe ROOT < golden.png`: a model's first minute in production, as JSON.

Runs in a process of its own, so that what it imports and the memory it needs are those of a
service that recognises, not those of training.
"""

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from digits.core.errors import DigitsError
from digits.plots import sheets
from digits.recogniser import Recogniser

_RUNS = 60  # images that are timed one by one
_WARM_UP = 10


def main() -> None:
    """Load the model below ROOT, read the golden images, and print what it took."""
    try:
        recogniser = Recogniser.load(Path(sys.argv[1]))
        golden = sheets.cells(sys.stdin.buffer.read())
        digits = [int(p.argmax()) for p in recogniser.predict(golden)]
        one, times = np.ascontiguousarray(golden[:1]), []
        for _ in range(_WARM_UP + _RUNS):
            start = time.perf_counter()
            recogniser.predict(one)
            times.append(1000 * (time.perf_counter() - start))
    except DigitsError as exc:
        print(json.dumps({"error": str(exc)}))
        return
    document = {
        "digits": digits,
        "blank": [not image.any() for image in golden],
        "milliseconds": statistics.median(times[_WARM_UP:]),
        "megabytes": _peak(),
        "tensorflow": "tensorflow" in sys.modules,
    }
    print(json.dumps(document, default=bool))


def _peak() -> float:
    """The largest memory of this program so far, in MB.

    Linux starts `ru_maxrss` with what the parent process had when it started this one, so there
    the peak of the program itself is read.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        sizes = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(sizes["VmHWM"].split()[0]) / 1024  # in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    main()
