"""The figures of a check as a metric of Evidently, with tests. Importing Evidently takes seconds.

Stored runs hold values and tests of Evidently's own types only, so that any Evidently reads them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from evidently.core.datasets import Dataset
from evidently.core.metric_types import ByLabelCalculation, ByLabelMetric, ByLabelValue
from evidently.core.report import Context
from evidently.legacy.renderers.html_widgets import CounterData, counter, table_data
from evidently.tests import gte, lte

if TYPE_CHECKING:
    from digits.drift.detector import DriftResult

DATA = "check"  # name of the additional dataset that holds `table`
TYPE = "evidently:metric_v2:DigitsDrift"
_FEATURES = "All features; distances in standard deviations of the reference, for a digit, a share"
VERDICTS = {
    "none": "no drift",
    "drift": "drift, read as well as before",
    "harmful": "harmful",
}


class Figures(ByLabelMetric):
    """Figures of a check, by label.

    Attributes:
        of: which ones; see `table`.
    """

    class Config:
        type_alias = TYPE

    of: str


class _Calculation(ByLabelCalculation[Figures]):
    def calculate(self, context: Context, *_: Dataset | None) -> ByLabelValue:
        table = context.additional_data[DATA].as_dataframe()
        table = table[table["of"] == self.metric.of].set_index("label")
        self._names = dict(table["name"])
        result = self.result({label: float(value) for label, value in table["value"].items()})
        shown = table[table["text"] != ""]
        if self.metric.of == "feature":
            columns = ["feature", "p-value", "distance"]
            rows = zip(shown.index, shown["value"].map("{:.2g}".format), shown["text"], strict=True)
            result.widget = [table_data(title=_FEATURES, column_names=columns, data=rows)]
        else:
            counters = [CounterData(*row) for row in zip(shown["name"], shown["text"], strict=True)]
            result.widget = [counter(counters=counters)] if counters else []
        return result

    def display_name(self) -> str:
        return str(self.metric.of)

    def label_display_name(self, label: Any) -> str:
        return str(self._names[label])


def metrics(result: "DriftResult") -> list[Figures]:
    """The metrics of a report. Their tests: not harmful, not changed, in no view."""
    same = [gte(result.alpha)]
    return [
        Figures(of="verdict", tests={"harmful": [lte(0)]}),
        Figures(of="accuracy", tests={}),
        Figures(of="p-value", tests={"batch": same}),
        Figures(of="view", tests=dict.fromkeys(result.views, same)),
        Figures(of="changed view", tests={}),
        Figures(of="no digit", tests={}),
        Figures(of="feature", tests={}),
    ]


def table(result: "DriftResult", lowest: float, name: str) -> pd.DataFrame:
    """Value, name and, if the report shows it, text of each figure.

    Accuracies and shares are in percent, as the UI rounds to two decimals.

    Args:
        lowest: accuracy that is no harm yet.
        name: of the batch; may be empty.
    """
    r = result
    interval = f"{r.accuracy_low:.1%} – {r.accuracy_high:.1%}"
    share_interval = f"{r.no_digit_low:.0%} – {r.no_digit_high:.0%}"
    verdict = f"verdict on {name}" if name else "verdict"
    estimate = _percent(r.estimated_accuracy)
    figures: dict[str, dict[str, tuple[float, str, str]]] = {
        "verdict": {
            "verdict": (list(VERDICTS).index(r.verdict), verdict, VERDICTS[r.verdict]),
            "images": (r.n, "images", f"{r.n:,}"),
            "harmful": (r.harmful, "Read worse than tolerated, beyond doubt (1: yes)", ""),
        },
        "accuracy": {
            "estimated": (estimate, "estimated accuracy", f"{r.estimated_accuracy:.1%}"),
            "low": (_percent(r.accuracy_low), "its 95 % interval", interval),
            "high": (_percent(r.accuracy_high), "upper end", ""),
            "lowest": (_percent(lowest), "lowest accuracy that is tolerated", f"{lowest:.1%}"),
        },
        "p-value": {
            "batch": (r.p_value, "p-value of the batch", f"{r.p_value:.2g}"),
            "alpha": (r.alpha, "changed if below", f"{r.alpha:g}"),
            "log batch": (np.log10(r.p_value), "log10 of the p-value", ""),
            "log alpha": (np.log10(r.alpha), "log10 of alpha", ""),
        },
        "view": {
            view: (p_value, f"p-value of view “{view}”", f"{p_value:.2g}")
            for view, p_value in r.views.items()
        },
        "changed view": {view: (p_value < r.alpha, view, "") for view, p_value in r.views.items()},
        "no digit": {
            "share": (_percent(r.no_digit_share), "show no digit", f"{r.no_digit_share:.0%}"),
            "low": (_percent(r.no_digit_low), "its 95 % interval", share_interval),
            "high": (_percent(r.no_digit_high), "upper end", ""),
        },
        "feature": {
            feature: (test["p_value"], f"p-value of {feature}", f"{test['distance']:.3f}")
            for feature, test in sorted(r.tests.items(), key=lambda item: item[1]["p_value"])
        },
    }
    if r.accuracy is not None:
        measured = _percent(r.accuracy), "measured accuracy", f"{r.accuracy:.1%}"
        figures["accuracy"]["measured"] = measured
    rows = [(of, label, *row) for of, rows in figures.items() for label, row in rows.items()]
    return pd.DataFrame(rows, columns=["of", "label", "value", "name", "text"])


def _percent(share: float) -> float:
    return round(100 * share, 4)
