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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    document = {
        "digits": digits,
        "blank": [not image.any() for image in golden],
        "milliseconds": statistics.median(times[_WARM_UP:]),
        "megabytes": peak,
        "tensorflow": "tensorflow" in sys.modules,
    }
    print(json.dumps(document, default=bool))


if __name__ == "__main__":
    main()
