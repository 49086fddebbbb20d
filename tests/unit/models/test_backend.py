"""TensorFlow's set-up: quiet on every CPU, and in the chosen arithmetic."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from digits.models import settings

settings.choose(sys.argv[1])
from digits.models.backend import ARITHMETIC, tf

tf.nn.conv2d(tf.zeros((1, 8, 8, 1)), tf.zeros((3, 3, 1, 2)), 1, "SAME")
print(ARITHMETIC, tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.parametrize(("arithmetic", "threads"), [("portable", "2"), ("fast", "0")])
def test_tensorflow_prints_nothing_even_if_onednn_is_asked_for(
    arithmetic: str, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arithmetic], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [arithmetic, threads]
    assert done.stderr == ""
