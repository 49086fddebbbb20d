"""Duration of `digits predict` for one picture, from process start to exit."""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from PIL import Image

from benchmarks.bench import Bench, Result
from digits.zoo.benchmark import times

RUNS = 7


def measure(bench: Bench) -> dict[str, Result]:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "digit.png"
        Image.fromarray(255 - bench.data.val.images[0]).resize((200, 200)).save(picture)
        predict = [sys.executable, "-m", "digits", "predict", str(picture)]
        tensorflow = [sys.executable, "-c", "import tensorflow"]
        ours, theirs = times([lambda: _run(bench, predict), lambda: _run(bench, tensorflow)], RUNS)
    return {
        "cold_predict": Result(
            median(ours),
            "s, whole process",
            f"importing TensorFlow alone, {median(theirs):.1f} s",
            "≤ 1",
            ours,
        )
    }


def _run(bench: Bench, command: list[str]) -> None:
    subprocess.run(command, cwd=bench.project.root, capture_output=True, check=True)
