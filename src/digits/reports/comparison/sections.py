"""All sections of a comparison in their order."""

from digits.gate.comparison import Comparison
from digits.reports.comparison import inputs, results
from digits.reports.comparison.document import Section, limited

ACCURACY = frozenset({"test", "digits", "digits-quiet", "batches", "batches-quiet"})


def sections(result: Comparison) -> list[Section]:
    """What changed by more than chance first; sections without rows are left out.

    Those of `ACCURACY` come first: the images that changed sides belong after them.
    """
    found = [
        results.test_set(result),
        *results.digits(result),
        *results.batches(result),
        inputs.parameters(result),
        inputs.data(result),
        inputs.validation(result),
        inputs.policy(result),
        *results.confusion(result),
        *results.corruptions(result),
        results.curves(result),
        results.metrics(result),
        inputs.code(result),
        inputs.plots(result),
        inputs.stale(result),
        inputs.unrecorded(result),
    ]
    return [limited(section) for section in found if section.rows]
