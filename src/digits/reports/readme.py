"""The README's results table, between two markers."""

from collections.abc import Mapping
from typing import Any

from digits.core.errors import DataError
from digits.formatting import interval, markdown_code, markdown_table, markdown_text, percent

START, END = "<!-- results -->", "<!-- /results -->"


def results_table(metrics: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """The results as a Markdown table.

    Args:
        metrics: the document in reports/metrics.json.
        card: the document in reports/model.json.

    Raises:
        DataError: a required value is missing.
    """
    try:
        test = metrics["test"]
        rows = [
            (f"On {test['n']:,} test digits", markdown_code(str(card["model"]))),
            ("Accuracy", _with_interval(test, "accuracy", mark="**")),
            *(
                (f"{name} (mean of the ten digits)", _with_interval(test, key))
                for name, key in _MACRO
            ),
            *_details(metrics),
            ("Parameters", f"{card['parameters']:,}"),
            ("Best epoch", f"{card['best_epoch']} of {card['epochs']}"),
        ]
    except (KeyError, TypeError) as exc:
        raise DataError(
            f"reports/metrics.json or reports/model.json lacks {exc}; run 'dvc repro evaluate'"
        ) from exc
    head, *others = rows
    return markdown_table(head, others)


def replace(text: str, table: str) -> str:
    """Replace what is between the markers in `text` by `table`.

    Raises:
        DataError: the markers don't occur exactly once each, in order.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end) or text.count(START) != 1 or text.count(END) != 1:
        raise DataError(
            f"README.md: expected '{START}' once and '{END}' once after it, got "
            f"{text.count(START)} and {text.count(END)}; put them around the results table"
        )
    return f"{before}{START}\n{table}\n{END}{after}"


_MACRO = (("Precision", "precision"), ("Recall", "recall"), ("F1", "f1"))


def _with_interval(test: Mapping[str, Any], name: str, mark: str = "") -> str:
    between = interval(test, name)
    share = f"{mark}{percent(test[name])}{mark}"
    return f"{share} (interval {between})" if between else share


def _details(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    test, rows = metrics["test"], []
    if "errors" in test:
        rows.append(("Misread", f"{test['errors']:,}"))
    if cleaner := test.get("without_doubted_labels"):
        left_out = test["n"] - cleaner["n"]
        name = f"Accuracy without {left_out} images whose label most annotators did not confirm"
        rows.append((name, percent(cleaner["accuracy"])))
    if figures := test.get("per_digit"):
        weakest = min(figures, key=lambda digit: float(figures[digit]["recall"]))
        rows.append(
            (
                "Hardest digit",
                f"{markdown_text(weakest)}: recall {percent(figures[weakest]['recall'])}",
            )
        )
    if "calibration_error" in test:
        rows.append(("Calibration error", percent(test["calibration_error"])))
    if corrupted := metrics.get("corrupted"):
        rows.append(("Misread under MNIST-C's 15 corruptions", percent(corrupted["mean_error"])))
    if "accuracy" in metrics.get("val", {}):
        rows.append(("Accuracy on validation data", percent(metrics["val"]["accuracy"])))
    return rows
