"""Recognise handwritten digits, and know whether the recogniser may be trusted.

The public Python surface is below; it is imported lazily so that a stage which does not need
TensorFlow never pays for it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector, DriftResult
    from digits.recogniser import Recogniser

__all__ = ["DriftDetector", "DriftResult", "Recogniser"]

_HOMES = {
    "DriftDetector": "digits.drift.detector",
    "DriftResult": "digits.drift.detector",
    "Recogniser": "digits.recogniser",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'digits' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
