"""The README's results table and its two markers."""

from typing import Any

import pytest

from digits.core.errors import DataError
from digits.reports import readme

METRICS: dict[str, Any] = {
    "test": {
        "n": 10_000,
        "errors": 30,
        "accuracy": 0.997,
        "accuracy_interval": [0.9957, 0.9979],
        "precision": 0.9969,
        "recall": 0.9968,
        "f1": 0.99685,
        "f1_interval": [0.9956, 0.9978],
        "calibration_error": 0.0012,
        "per_digit": {"3": {"recall": 0.999}, "9": {"recall": 0.9911}},
    },
    "val": {"n": 5000, "accuracy": 0.9962},
}
CARD = {"model": "allconv", "parameters": 243210, "epochs": 10, "best_epoch": 8}


def _cells(table: str) -> dict[str, str]:
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if "---" not in line]
    return dict(rows)


def test_the_table_shows_the_values_of_the_reports() -> None:
    assert _cells(readme.results_table(METRICS, CARD)) == {
        "On 10,000 test digits": "`allconv`",
        "Accuracy": "**99.70 %** (interval 99.57 – 99.79 %)",
        "Precision (mean of the ten digits)": "99.69 %",
        "Recall (mean of the ten digits)": "99.68 %",
        "F1 (mean of the ten digits)": "99.69 % (interval 99.56 – 99.78 %)",
        "Misread": "30",
        "Hardest digit": "9: recall 99.11 %",
        "Calibration error": "0.12 %",
        "Accuracy on validation data": "99.62 %",
        "Parameters": "243,210",
        "Best epoch": "8 of 10",
    }


def test_the_table_needs_only_the_guaranteed_metrics() -> None:
    keys = ("n", "accuracy", "precision", "recall", "f1")
    table = readme.results_table({"test": {key: METRICS["test"][key] for key in keys}}, CARD)
    assert _cells(table)["Accuracy"] == "**99.70 %**"
    assert "Hardest digit" not in table


def test_a_name_cannot_break_out_of_its_cell() -> None:
    table = readme.results_table(METRICS, CARD | {"model": "a|b\n| c"})
    assert "`a\\|b \\| c`" in table.splitlines()[0]


@pytest.mark.parametrize(("metrics", "card"), [({}, CARD), (METRICS, {})])
def test_a_missing_value_is_named(metrics: dict[str, Any], card: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"lacks '(test|model)'; run 'dvc repro evaluate'"):
        readme.results_table(metrics, card)


def test_replace_keeps_everything_else_and_is_idempotent() -> None:
    text = "# Title\n\n<!-- results -->\nold\n<!-- /results -->\n\nThe end. \\1\n"
    once = readme.replace(text, "| new \\1 |")
    assert once == ("# Title\n\n<!-- results -->\n| new \\1 |\n<!-- /results -->\n\nThe end. \\1\n")
    assert readme.replace(once, "| new \\1 |") == once


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("nothing", "0 and 0"),
        ("<!-- results --> never closed", "1 and 0"),
        ("<!-- /results --> backwards <!-- results -->", "1 and 1"),
        ("<!-- results --> <!-- results --> <!-- /results -->", "2 and 1"),
    ],
)
def test_replace_refuses_markers_that_do_not_match(text: str, got: str) -> None:
    with pytest.raises(DataError, match=f"got {got}"):
        readme.replace(text, "| table |")
