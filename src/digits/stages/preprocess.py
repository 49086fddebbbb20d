"""build/ingested → build/splits: images and labels of train, val and test, and their scale."""

import numpy as np

from digits import artifacts, splits, splitting
from digits.params import Params
from digits.paths import Project
from digits.splits import Split
from digits.stages._stage import main


def preprocess(project: Project, params: Params) -> None:
    """Split; measure mean and spread of the training pixels for the network's first layer."""
    index = artifacts.read_table(project.ingested / "index.parquet")
    images = artifacts.read_array(project.ingested / "images.npy")
    rows = splitting.split(index, params.preprocess)
    every_label = index["label"].to_numpy(dtype=np.uint8, na_value=255)
    for name in ("train", "val", "test"):
        chosen = getattr(rows, name)
        labels = every_label[chosen]
        Split(images[chosen], labels).write(project.splits, name)
        print(f"{name}: {len(chosen):,} images")
    print(f"left out beside val's runs: {len(rows.left_out):,} images")
    splits.write_scale(project.splits, images[rows.train])


if __name__ == "__main__":
    main(preprocess)
