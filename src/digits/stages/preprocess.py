"""build/ingested → build/splits: images and labels of train, val and test, and their scale."""

import numpy as np

from digits import artifacts, splitting
from digits.params import Params
from digits.paths import Project
from digits.stages._stage import main


def preprocess(project: Project, params: Params) -> None:
    """Split; measure mean and spread of the training pixels for the network's first layer."""
    index = artifacts.read_table(project.ingested / "index.parquet")
    images = artifacts.read_array(project.ingested / "images.npy")
    rows = splitting.split(index, params.preprocess)
    for name, chosen in vars(rows).items():
        artifacts.write_array(project.splits / f"{name}-images.npy", images[chosen])
        labels = index["label"].to_numpy(dtype=np.uint8, na_value=255)[chosen]
        artifacts.write_array(project.splits / f"{name}-labels.npy", labels)
        print(f"{name}: {len(chosen):,} images")
    pixels = images[rows.train]
    scale = {
        "mean": round(float(pixels.mean()) / 255, 6),
        "std": round(float(pixels.std()) / 255, 6),
    }
    artifacts.write_json(project.splits / "scale.json", scale)


if __name__ == "__main__":
    main(preprocess)
