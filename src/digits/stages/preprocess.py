"""build/ingested → build/splits (images, labels, ids of train, val, test; the scale), golden.png.

reports/golden.png has one typical validation image of each digit, 0 to 9. Every model must read
them: the gate shows them to a model in a clean process.
"""

import numpy as np

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data import dataset, splits
from digits.data.dataset import Split
from digits.plots import sheets


def preprocess(project: Project, params: Params) -> None:
    """Split the images; measure mean and standard deviation of the training pixels."""
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    rows = splits.split(index, params.preprocess)
    labels = index["label"].to_numpy(dtype=np.uint8, na_value=255)
    for name in dataset.NAMES:
        chosen = getattr(rows, name)
        Split(images[chosen], labels[chosen]).write(project.splits, name)
        dataset.write_ids(project.splits, name, index["id"].to_numpy(np.int64)[chosen])
        print(f"{name}: {len(chosen):,} images")
    print(f"in neither train nor val, next to val's runs: {len(rows.left_out):,} images")
    dataset.write_scale(project.splits, images[rows.train])
    golden = splits.typical(images[rows.val], labels[rows.val])
    with files.replacing(project.golden) as path:
        path.write_bytes(sheets.sheet(golden, columns=len(golden)))


if __name__ == "__main__":
    main(preprocess)
