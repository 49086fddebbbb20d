"""build/ingested → build/splits: images and labels of train, val and test, and their scale."""

import numpy as np

from digits.core import files
from digits.core.params import Params
from digits.core.project import Project
from digits.core.stage import main
from digits.data import dataset, splits
from digits.data.dataset import Split


def preprocess(project: Project, params: Params) -> None:
    """Split; measure mean and spread of the training pixels for the network's first layer."""
    index = files.read_table(project.ingested / "index.parquet")
    images = files.read_array(project.ingested / "images.npy")
    rows = splits.split(index, params.preprocess)
    every_label = index["label"].to_numpy(dtype=np.uint8, na_value=255)
    for name in ("train", "val", "test"):
        chosen = getattr(rows, name)
        labels = every_label[chosen]
        Split(images[chosen], labels).write(project.splits, name)
        print(f"{name}: {len(chosen):,} images")
    print(f"left out beside val's runs: {len(rows.left_out):,} images")
    dataset.write_scale(project.splits, images[rows.train])


if __name__ == "__main__":
    main(preprocess)
