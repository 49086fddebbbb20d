"""Raw files → build/ingested: images.npy (memory-mappable) and index.parquet."""

from digits.core import files
from digits.core.errors import DataError
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data import ingestion, mnist


def ingest(project: Project, params: Params) -> None:
    """Verify the raw files' checksums, then bring all images into one array."""
    damaged = mnist.verify(project.mnist, params.fetch.sha256)
    if damaged:
        raise DataError("\n".join(damaged))
    ingested = ingestion.ingest(project.mnist, project.handwriting, params.ingest)
    files.write_array(project.ingested / "images.npy", ingested.images)
    files.write_table(project.ingested / "index.parquet", ingested.index)
    for (split, batch), rows in ingested.index.groupby(["split", "batch"], sort=False):
        print(f"{split}/{batch}: {len(rows):,} images, {rows['label'].notna().mean():.0%} labelled")


if __name__ == "__main__":
    main(ingest)
