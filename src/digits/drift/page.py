"""Evidently's own report on a check, with the project's figures and calibrated p-values.

Evidently's default rules alarm on most small batches and miss a digit that is gone. So its report
begins with our figures, and gets a statistical test of our own: for each feature, the adjusted
p-value of `change`. Evidently is imported when it is needed, as that takes seconds.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from digits.drift.change import Rows, Scores

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

    from digits.drift.detector import DriftResult

_TEST = "digits_permutation"
_DIGIT = "digit"


def report(
    result: DriftResult,
    lowest: float,
    scores: Scores,
    reference: Rows,
    batch: Rows,
    name: str,
    draw: int | None = None,
) -> Snapshot:
    """Evidently's report: the figures, then the features' distributions.

    Args:
        lowest: accuracy that is no harm yet.
        name: of the batch; may be empty.
        draw: of how many features, those with the smallest p-values, to draw the distributions,
            which takes 0.1 s each; default: all.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    from digits.drift import figures

    p_values = {n: test["p_value"] for n, test in result.tests.items() if test["view"] != "digits"}
    p_values[_DIGIT] = result.views["digits"]
    names = sorted(p_values, key=lambda name: p_values[name])[:draw]
    _register(p_values, result.alpha)
    definition = DataDefinition(
        numerical_columns=[name for name in names if name != _DIGIT],
        categorical_columns=[name for name in names if name == _DIGIT],
    )
    test = {"method": _TEST, "threshold": result.alpha}
    if draw:
        drawn = [ValueDrift(column=name, **test) for name in names]
    else:
        drawn = [DataDriftPreset(columns=names, drift_share=1 / len(names), **test)]
    metrics = figures.metrics(result)
    data = (
        Dataset.from_pandas(_table(scores, rows)[names], definition) for rows in (batch, reference)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it correlates columns, constant ones, too
        return Report([*metrics, *drawn], include_tests=True).run(
            *data,
            additional_data={figures.DATA: figures.table(result, lowest, name)},
            timestamp=datetime.now(UTC),
            tags=[result.verdict],
            name=name,
        )


def write(path: Path, report: Snapshot) -> None:
    """Write the report as an HTML file that opens without a network; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save_html(str(path))


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
    table = pd.DataFrame(rows.values[:, numeric], columns=[list(views)[i] for i in numeric])
    return table.assign(**{_DIGIT: scores.read(rows).astype(str)})
