"""TensorFlow and Keras, set up in one place; everything else imports `keras` and `tf` from here.

TensorFlow reads its settings while it is imported, and prints notes on the CPU that no setting
turns off. A contract in pyproject.toml forbids other imports of it.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

from digits.models import settings

ARITHMETIC = settings.arithmetic
_THREADS = 2  # a sum is split among them, so their number decides its rounding


def _keep_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the system after every step.

    TensorFlow's threads free and request the same megabytes in each training step; the page faults
    took a third of the training time (5.0 million of them, 0.15 million with this). The threads
    choose their memory arena when they start, hence before the import.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # not glibc
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # malloc.h
    mallopt(arena_max, 1)
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 256 << 20)


@contextlib.contextmanager
def discarded_stderr() -> Iterator[None]:
    """Discard what C++ code writes to file descriptor 2."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_keep_memory()
if ARITHMETIC == "portable":
    # oneDNN's kernels, also that inside Eigen's contractions, differ by instruction set
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    os.environ["TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL"] = "0"
with discarded_stderr():
    import keras
    import tensorflow as tf
if ARITHMETIC == "portable":
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # this pass turns x / √y into x · (1/√y), whose kernel is approximate: see `arithmetic`
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})

__all__ = ["ARITHMETIC", "discarded_stderr", "keras", "make_deterministic", "tf"]


def make_deterministic(seed: int) -> None:
    """Make everything that TensorFlow and Keras do from here on repeatable."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
