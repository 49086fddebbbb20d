"""Evidently's own page on a batch, with the project's calibrated p-values. Used only here.

Evidently's default rules alarm on most small batches and miss a digit that is gone. So its report
gets a statistical test of our own: for each feature, the adjusted p-value of `change`.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from digits.drift.change import ChangeResult, Rows, Scores

_TEST = "digits_permutation"
_DIGIT = "digit"


def write(
    path: Path, scores: Scores, reference: Rows, batch: Rows, found: ChangeResult, alpha: float
) -> None:
    """Write a page that opens without a network; features with the smallest p-values come first.

    Args:
        path: of the HTML file; its folder is made.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    p_values = {name: one.p_value for name, one in found.features.items() if one.view != "digits"}
    p_values[_DIGIT] = found.views["digits"].p_value
    names = sorted(p_values, key=lambda name: p_values[name])
    _register(p_values, alpha)
    definition = DataDefinition(
        numerical_columns=[name for name in names if name != _DIGIT], categorical_columns=[_DIGIT]
    )
    report = Report(
        [DataDriftPreset(columns=names, method=_TEST, threshold=alpha, drift_share=1 / len(names))],
        include_tests=True,
    )
    data = (
        Dataset.from_pandas(_table(scores, rows)[names], definition) for rows in (batch, reference)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it correlates columns, constant ones, too
        report.run(*data).save_html(str(path))


def _register(p_values: dict[str, float], alpha: float) -> None:
    """Make a test of that name known to Evidently, which gives these p-values by column."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def test(
        reference: pd.Series, batch: pd.Series, _: ColumnType, threshold: float
    ) -> tuple[float, bool]:
        p_value = p_values[str(batch.name)]
        return p_value, p_value < threshold

    types = [ColumnType.Numerical, ColumnType.Categorical]
    name = "permutation test, adjusted for all features"
    register_stattest(StatTest(_TEST, name, types, alpha), default_impl=test)


def _table(scores: Scores, rows: Rows) -> pd.DataFrame:
    """The features, those of digits as one column."""
    views = scores.views
    numeric = [i for i, view in enumerate(views.values()) if view != "digits"]
    digits = [i for i, view in enumerate(views.values()) if view == "digits"]
    table = pd.DataFrame(rows.values[:, numeric], columns=[list(views)[i] for i in numeric])
    return table.assign(**{_DIGIT: np.argmax(rows.values[:, digits], axis=1).astype(str)})
