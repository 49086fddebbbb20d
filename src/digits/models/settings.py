"""How TensorFlow is to compute: chosen before `backend` is imported, which sets it up."""

from typing import Literal

Arithmetic = Literal["portable", "fast"]

arithmetic: Arithmetic = "portable"


def choose(chosen: Arithmetic) -> None:
    """Use this arithmetic if TensorFlow is not set up yet; `backend.ARITHMETIC` is what is in use.

    "portable" gives the same bytes on every x86-64 CPU with AVX, "fast" is TensorFlow as it comes.
    """
    global arithmetic
    arithmetic = chosen
