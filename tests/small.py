"""A small but complete project: git, DVC and scikit-learn's 1,797 real digits."""

import shutil
from pathlib import Path

import numpy as np
import repository
import yaml

from digits.core import files
from digits.data import handwriting, mnist
from digits.images import glyphs

REPOSITORY = Path(__file__).parent.parent
TEST = 397  # images of the test set


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real digits in MNIST's form: uint8 (n, 28, 28), and labels uint8 (n,)."""
    entries = handwriting.uci_digits()
    images = [glyphs.read(entry.picture).image for entry in entries]
    return np.stack(images), np.array([entry.label for entry in entries], dtype=np.uint8)


def create(root: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The project before its first run, committed; `root` is an empty folder."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY / "src", root / "src", ignore=ignored)
    for name in ("dvc.yaml", "prefect.yaml", ".gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    write_mnist(root / "data" / "mnist", images, labels, TEST)
    handwriting.write(root / "data" / "handwriting" / "uci-digits", handwriting.uci_digits()[:120])
    write_params(root, len(images) - TEST, TEST)
    repository.init(root)
    shutil.copy(REPOSITORY / ".dvcignore", root)  # in place of the empty one that DVC makes
    repository.dvc(root, "add", "--quiet", "data")
    repository.commit_all(root)


def write_params(root: Path, train: int, test: int) -> None:
    """Write the repository's params.yaml, changed for few images and short training."""
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    folder = root / "data" / "mnist"
    document["fetch"]["sha256"] = {p.name: files.sha256(p) for p in sorted(folder.iterdir())}
    document["validate"] |= {"train_count": train, "test_count": test, "max_duplicate_share": 0.02}
    # 43 people repeat themselves, in 8 × 8 pixels
    document["validate"]["max_near_copy_share"] = 0.03
    document["preprocess"] |= {"val_count": 200, "val_runs": 2, "val_guard": 10}
    document["evaluate"]["doubted_labels"] = [3]
    document["models"]["accurate"] |= {"epochs": 4, "batch_size": 32, "widths": [8, 16, 32, 32]}
    document["drift"]["reference_count"] = 200
    document["gate"] |= {"min_accuracy": 0.7, "min_recall": 0.3, "min_batch_accuracy": 0.5}
    document["gate"] |= {"max_calibration_error": 0.5, "max_corrupted_error": 0.9}
    # a busy machine must not fail a test
    document["gate"] |= {"max_milliseconds": 1000, "max_slowdown": 100}
    (root / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as an IDX file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mnist.idx_bytes(array))


def write_mnist(folder: Path, images: np.ndarray, labels: np.ndarray, test: int) -> None:
    """Write MNIST's four IDX files; the last `test` images become the test set."""
    for prefix, rows in (("train", slice(None, -test)), ("t10k", slice(-test, None))):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images[rows])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels[rows])
