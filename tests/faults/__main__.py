"""`python -m faults [SEED] [CLEAN]`: inject every fault, and see that clean data passes.

Data sets are random parts of MNIST in data/: 10,000 and 2,000 images; batches
are from validation images and uci-digits. More handwriting joins if DIGITS_HANDWRITING is a folder
that has it. The table goes to reports/faults.md. Exit code 1 if a fault isn't caught, named and
counted, or if clean data is blocked.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from digits.core import files, params
from digits.core.params import Validate
from digits.core.project import Project
from digits.data import mnist
from digits.data.dataset import Split
from digits.formatting import markdown_table, markdown_text
from digits.intake.judging import Readers
from faults import batches, datasets
from faults.datasets import Arrays, Data, Finding

_COUNT, _TEST_COUNT = 10_000, 2_000  # images of a data set with faults
_BATCH = 1_000  # images of a batch with faults; of 500, 5 % wrong labels may pass
_CLEAN = 100  # random subsets of each kind that must not be blocked, unless CLEAN is given
_SET_SIZES = (500, 700, 1000, 2000)
_BATCH_SIZES = (20, 50, 100, 200, 500)
_SHOWN = 200  # characters of a message in the table
_OTHERS = ("usps_zip_train", "chars74k_hnd_digits")


def main(seed: int, clean_count: int) -> None:
    """Print a line for each fault; exit with 1 if any is missed or clean data is blocked."""
    project, rng = Project.find(), np.random.default_rng(seed)
    print(f"seed {seed}", flush=True)
    found = {**_datasets(project, rng), **_batches(project, rng)}
    clean = _clean_batches(project, rng, clean_count)
    clean["data sets of MNIST"] = _clean_datasets(project, rng, clean_count)
    files.write_text(project.reports / "faults.md", _page(found, clean, seed, clean_count))
    short = [name for name, finding in found.items() if not finding.complete]
    if short or any(clean.values()):
        sys.exit(f"faults: fall short: {', '.join(short) or 'none'}; clean ones blocked: {clean}")
    print(f"All {len(found)} faults are caught, named and counted; nothing clean is blocked.")


def _datasets(project: Project, rng: np.random.Generator) -> dict[str, Finding]:
    data = _sample(project, rng, _COUNT, _TEST_COUNT)
    bounds = _bounds(project, data)
    return {
        name: _show(name, datasets.judge(fault, data, bounds, rng))
        for fault in datasets.faults()
        for name in [f"data set: {fault.name}"]
    }


def _batches(project: Project, rng: np.random.Generator) -> dict[str, Finding]:
    readers, found = Readers.load(project), {}
    with tempfile.TemporaryDirectory(prefix="digits-faults-") as temporary:
        folder = Path(temporary)
        arrays = _part(_validation(project), _BATCH, rng)
        for fault in batches.array_faults(mnist.load(project.mnist, "test")[0][0]):
            path = batches.save(folder / "batch.npz", fault.change(*arrays, rng))
            name = f"batch: {fault.name}"
            found[name] = _show(name, batches.judge(fault, batches.check(project, readers, path)))
        for number, broken in enumerate(batches.file_faults()):
            place = folder / str(number)
            place.mkdir()
            lines = batches.check(project, readers, *broken.write(place, arrays))
            lines = [line.replace(f"{place}/", "").replace(str(place), "scans") for line in lines]
            name = f"batch: {broken.name}"
            found[name] = _show(name, batches.judge(broken, lines))
    return found


def _clean_batches(project: Project, rng: np.random.Generator, count: int) -> dict[str, int]:
    readers, blocked = Readers.load(project), {}
    sources = {"MNIST": _validation(project), "uci-digits": _anchor(project), **dict(_others())}
    with tempfile.TemporaryDirectory(prefix="digits-faults-") as temporary:
        for name, arrays in sources.items():
            of_source = 0
            for number in range(count):
                size = _BATCH_SIZES[number % len(_BATCH_SIZES)]
                path = batches.save(Path(temporary) / "clean.npz", _part(arrays, size, rng))
                lines = [x for x in batches.check(project, readers, path) if "quarantined" not in x]
                of_source += bool(lines)
                for line in lines:
                    print(f"blocked, clean: {size} of {name}: {line}", flush=True)
            print(f"clean batches of {name} blocked: {of_source} of {count}", flush=True)
            blocked[f"batches of {name}"] = of_source
    return blocked


def _clean_datasets(project: Project, rng: np.random.Generator, count: int) -> int:
    blocked = 0
    for number in range(count):
        size = _SET_SIZES[number % len(_SET_SIZES)]
        data = _sample(project, rng, size, size)
        lines = datasets.check(data, _bounds(project, data))
        blocked += bool(lines)
        for line in lines:
            print(f"blocked, clean: {size} and {size} of MNIST: {line}", flush=True)
    print(f"clean data sets of MNIST blocked: {blocked} of {count}")
    return blocked


def _show(name: str, found: Finding) -> Finding:
    verdicts = {"caught": bool(found.lines), "named": found.named, "counted": found.counted}
    marks = "  ".join(f"{mark} {'yes' if good else 'NO':3}" for mark, good in verdicts.items())
    print(f"{name:46} {marks}  {found.shown[:80]}", flush=True)
    return found


def _page(found: dict[str, Finding], clean: dict[str, int], seed: int, count: int) -> str:
    """The table for reports/faults.md."""
    rows = []
    for name, finding in found.items():
        rows.append((name, _outcome(name, finding), markdown_text(finding.shown[:_SHOWN])))
    blocked = "; ".join(f"{n} of {count} {name}" for name, n in clean.items())
    return (
        "# Faults of data, and what catches them\n\n"
        f"Made by `make faults SEED={seed}`: each fault injected into {_COUNT:,} training and "
        f"{_TEST_COUNT:,} test images of MNIST, or into a batch of {_BATCH:,}. None needs the "
        f"drift check. Clean ones that were blocked: {blocked}. Dark ink on a light ground is no "
        "fault of a batch: each picture is turned to white on black. The bounds and their reasons "
        "are in section `validate` of `params.yaml`.\n\n"
        + markdown_table(("fault", "what happens", "the message begins"), rows)
        + "\n"
    )


def _outcome(name: str, found: Finding) -> str:
    if not found.complete:
        return "**falls short**"
    if name.startswith("data set"):
        return "the run stops"
    if "quarantined" in found.shown:
        return "quarantined"
    return "rejected" if found.shown.startswith(("batch:", "readings:")) else "error"


def _sample(project: Project, rng: np.random.Generator, train: int, test: int) -> Data:
    """Random training images, test images, and the anchor."""
    sets = (mnist.load(project.mnist, "train"), train), (mnist.load(project.mnist, "test"), test)
    return Data(*(_part(arrays, count, rng) for arrays, count in sets), _anchor(project))


def _anchor(project: Project) -> Arrays:
    index = files.read_table(project.ingested / "index.parquet")
    rows = np.flatnonzero(index["batch"].eq("uci-digits"))
    images = files.read_array(project.ingested / "images.npy")
    return images[rows], index["label"].to_numpy(int)[rows].astype(np.uint8)


def _validation(project: Project) -> Arrays:
    split = Split.read(project.splits, "val")
    return np.asarray(split.images), np.asarray(split.labels)


def _others() -> Iterator[tuple[str, Arrays]]:
    folder = Path(os.environ.get("DIGITS_HANDWRITING", ""))
    for name in _OTHERS:
        if (file := folder / f"{name}.npz").is_file():
            with np.load(file, allow_pickle=False) as arrays:
                _, first = np.unique(arrays["images"], axis=0, return_index=True)
                yield name, (arrays["images"][first], arrays["labels"][first])


def _part(arrays: Arrays, count: int, rng: np.random.Generator) -> Arrays:
    rows = np.sort(rng.choice(len(arrays[1]), count, replace=False))
    return arrays[0][rows], arrays[1][rows]


def _bounds(project: Project, data: Data) -> Validate:
    counts = {"train_count": len(data.train[1]), "test_count": len(data.test[1])}
    return params.load(project.params).validate_.model_copy(update=counts)


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    main(*(arguments + [1, _CLEAN][len(arguments) :]))
