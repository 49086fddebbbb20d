"""Everything that digits raises on purpose.

DigitsError               exit code 2: invalid usage or input
├── ParameterError
├── DataError
│   └── PictureError
├── FetchError
├── BusyError
├── StageError
├── RegistryError
└── Verdict               exit code 1: the work was done, its result is negative
    └── ValidationFailed
"""


class DigitsError(Exception):
    """A failure that users can act on; the message is one line that says how."""

    exit_code = 2


class ParameterError(DigitsError):
    """params.yaml has a missing or unknown key, or a value out of bounds."""


class DataError(DigitsError):
    """A data file is missing, damaged or not in the expected format."""


class PictureError(DataError):
    """A picture can't be decoded or has no ink."""


class FetchError(DigitsError):
    """No source could deliver the data; the message lists each with its reason."""


class BusyError(DigitsError):
    """Another process holds a lock of this project."""


class StageError(DigitsError):
    """A command of the pipeline failed."""


class RegistryError(DigitsError):
    """A model version is unknown, or its files don't match their registered digest."""


class Verdict(DigitsError):
    """A negative result: drift, a regression, invalid data."""

    exit_code = 1


class ValidationFailed(Verdict):
    """The data violates an expectation; no later stage may run."""
