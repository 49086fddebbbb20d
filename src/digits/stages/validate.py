"""build/ingested → reports/validation.json; a broken expectation stops everything after it."""

from digits import artifacts, expectations
from digits.errors import ValidationFailed
from digits.params import Params
from digits.paths import Project
from digits.stages._stage import main


def validate(project: Project, params: Params) -> None:
    """Check index and images; the report is written whether or not they pass."""
    index = artifacts.read_table(project.ingested / "index.parquet")
    images = artifacts.read_array(project.ingested / "images.npy")
    report = expectations.validate(
        index, images, params.validate_, pages=project.html / "data-docs"
    )
    artifacts.write_json(project.validation_report, report)
    broken = [e for e in report["expectations"] if not e["success"]]
    count = len(report["expectations"])
    print(f"{count - len(broken)} of {count} expectations hold")
    if broken:
        lines = "\n".join(f"  {expectations.describe(e)}" for e in broken)
        raise ValidationFailed(
            f"{len(broken)} expectations are broken; correct the data, or what is expected of it "
            f"in params.yaml\n{lines}"
        )


if __name__ == "__main__":
    main(validate)
