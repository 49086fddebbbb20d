"""Train and use a digit recogniser, and test handwriting for drift.

The names in `__all__` are the public Python API. They are imported on first use, so that a stage
without a model doesn't pay for the libraries behind them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digits.drift.detector import DriftDetector, DriftResult
    from digits.recogniser import Recogniser

__all__ = ["DriftDetector", "DriftResult", "Recogniser"]

_MODULES = {
    "DriftDetector": "digits.drift.detector",
    "DriftResult": "digits.drift.detector",
    "Recogniser": "digits.recogniser",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'digits' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
