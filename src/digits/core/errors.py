"""Everything that digits raises on purpose.

DigitsError               exit 2: a usage or input error, one line that says what to do
├── ParameterError        params.yaml: an unknown key, a value out of bounds
├── DataError             a file that is missing, damaged or not what it claims to be
│   └── PictureError      a picture that can't be decoded or holds no ink
├── FetchError            no source could deliver the data
├── BusyError             somebody else holds the project's lock
├── StageError            a command of the pipeline failed
├── RegistryError         a version that is unknown, or whose files don't match their digest
└── Verdict               exit 1: nothing is broken, the answer is "no"
    └── ValidationFailed  the data breaks an expectation
"""


class DigitsError(Exception):
    """A failure that its user can understand and act on."""

    exit_code = 2


class ParameterError(DigitsError):
    """params.yaml holds an unknown key or a value out of bounds."""


class DataError(DigitsError):
    """A data file is missing, damaged or not what it claims to be."""


class PictureError(DataError):
    """A picture can't be decoded, or holds no ink."""


class FetchError(DigitsError):
    """No source could deliver the data; the message lists each with its reason."""


class BusyError(DigitsError):
    """Somebody else is running this project's pipeline."""


class StageError(DigitsError):
    """A command of the pipeline failed."""


class RegistryError(DigitsError):
    """A model version is unknown, or its files don't match their registered digest."""


class Verdict(DigitsError):
    """The work was done and the answer is negative: drift, regression, invalid data."""

    exit_code = 1


class ValidationFailed(Verdict):
    """The data breaks an expectation; everything after it must not run."""
