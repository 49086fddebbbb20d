"""build/ingested → reports/validation.json; a broken expectation stops all later stages."""

from digits.core import files
from digits.core.errors import ValidationFailed
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.validation import expectations


def validate(project: Project, params: Params) -> None:
    """Check index and images; the report is written whether or not they pass."""
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    pages = project.html / "data-docs"
    report = expectations.validate(index, images, params.validate_, pages)
    files.write_json(project.validation_report, report)
    broken = [e for e in report["expectations"] if not e["success"]]
    count = len(report["expectations"])
    print(f"{count - len(broken)} of {count} expectations hold")
    if broken:
        lines = "\n".join(f"  {expectations.describe(e)}" for e in broken)
        raise ValidationFailed(
            f"{len(broken)} expectations are broken; correct the data, or the thresholds in "
            f"params.yaml\n{lines}"
        )


if __name__ == "__main__":
    main(validate)
