"""Does a model run where it will be used? It is tried in clean processes, without TensorFlow."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core import processes
from digits.core.project import Project
from digits.models import weights

_ROUNDS = 3  # processes for each model, taking turns
_TIMEOUT = 60  # s


@dataclass(frozen=True)
class Trial:
    """What a model did in a clean process.

    `misread` are the golden digits that it got wrong. `milliseconds` is the median time for one
    image, `memory` the peak in MB, `size` the ONNX file's in MB. If `error` isn't empty, the model
    didn't run.
    """

    error: str = ""
    misread: tuple[int, ...] = ()
    tensorflow: bool = False
    milliseconds: float = 0.0
    memory: float = 0.0
    size: float = 0.0


def try_out(
    golden: bytes | None, challenger: Path, champion: Path | None
) -> tuple[Trial, Trial | None]:
    """Run the models, in turns so that a busy machine slows down both.

    Args:
        golden: the content of reports/golden.png.
        challenger, champion: the folders for `Recogniser.load`.
    """
    if golden is None:
        return Trial(error="reports/golden.png: not found; run 'dvc repro preprocess'"), None
    roots = [challenger, *([champion] if champion else [])]
    runs: list[list[dict[str, Any]]] = [[] for _ in roots]
    for _ in range(_ROUNDS):
        for root, results in zip(roots, runs, strict=True):
            results.append(_probe(golden, root))
            if "error" in results[-1] and root == challenger:
                return Trial(error=results[-1]["error"]), None
    trials = [_trial(root, results) for root, results in zip(roots, runs, strict=True)]
    return trials[0], trials[1] if champion else None


def _probe(golden: bytes, root: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "digits.gate.probe", str(root)],
            input=golden,
            capture_output=True,
            env=os.environ | processes.QUIET_TOOLS_ENV,
            timeout=_TIMEOUT,
            check=False,
        )
        document: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"the model gave no answer within {_TIMEOUT} s"}
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return {"error": lines[-1] if lines else f"ended with code {done.returncode}"}
    return document


def _trial(root: Path, results: list[dict[str, Any]]) -> Trial:
    if errors := [result["error"] for result in results if "error" in result]:
        return Trial(error=errors[0])
    first = results[0]
    read = zip(first["digits"], first["blank"], strict=True)
    onnx = Project(root).models / weights.ONNX
    return Trial(
        misread=tuple(i for i, (digit, blank) in enumerate(read) if digit != i and not blank),
        tensorflow=any(result["tensorflow"] for result in results),
        milliseconds=statistics.median(result["milliseconds"] for result in results),
        memory=max(result["megabytes"] for result in results),
        size=onnx.stat().st_size / 1e6,
    )
