"""build/ingested → reports/validation.json, labels.csv and labels.png.

A broken expectation stops all later stages; labels that are only doubted don't.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from digits.core import files
from digits.core.errors import ValidationFailed
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.plots import sheets
from digits.validation import agreement, checks, expectations
from digits.validation.agreement import Labelled


def validate(project: Project, params: Params) -> None:
    """Check index and images; the reports are written whether or not they pass."""
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    sound = expectations.complete(index, images)
    sets = agreement.labelled_sets(index, images) if sound else {}
    suites = expectations.suites(index, images, params.validate_, sets)
    report = checks.run(suites, project.html / "data-docs")
    files.write_json(project.validation_report, report)
    _write_doubted(project, agreement.doubted(suites, sets), sets)
    broken = [e for e in report["expectations"] if not e["success"]]
    count = len(report["expectations"])
    print(f"{count - len(broken)} of {count} expectations hold")
    if broken:
        lines = "\n".join(f"  {checks.describe(e)}" for e in broken)
        raise ValidationFailed(
            f"{len(broken)} expectations are broken; correct the data, or the thresholds in "
            f"params.yaml\n{lines}"
        )


def _write_doubted(project: Project, table: pd.DataFrame, sets: Mapping[str, Labelled]) -> None:
    """The labels that are doubted, and a sheet of their images in the same order."""
    files.write_table(project.doubted_labels, table)
    places = zip(table["set"], table["index"], strict=True)
    shown = [sets[name].images[row] for name, row in places]
    with files.replacing(project.doubted_labels_sheet) as temporary:
        temporary.write_bytes(sheets.sheet(np.array(shown).reshape(-1, 28, 28)))


if __name__ == "__main__":
    main(validate)
