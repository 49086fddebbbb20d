"""A few steps of the whole workflow in one process, and the SHA-256 of what each part gives.

It needs no project: images are scikit-learn's, the recipe is the default one of params.yaml.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from digits.core import params
from digits.data.dataset import Split
from digits.data.handwriting import uci_digits
from digits.evaluation import corruptions
from digits.images import features, glyphs

TRAIN, VAL, EPOCHS, CORRUPTED = 192, 64, 2, 8


def main() -> None:
    """Print one JSON document: part → SHA-256."""
    settings = params.load(Path("params.yaml"))
    entries = uci_digits()[: TRAIN + VAL]
    images = np.stack([glyphs.read(entry.picture).image for entry in entries])
    labels = np.array([entry.label for entry in entries], dtype=np.uint8)
    measured = features.measure(images, settings.ingest.ink_level)
    corrupted = [corruptions.corrupt(images[:CORRUPTED], name, 0) for name in corruptions.NAMES]
    parts = {"glyphs": _sha256(images.tobytes(), measured.to_csv())}
    parts["corruptions"] = _sha256(*(one.tobytes() for one in corrupted))
    data, val = Split(images[:TRAIN], labels[:TRAIN]), Split(images[TRAIN:], labels[TRAIN:])
    print(json.dumps(parts | _model(settings, data, val)))


def _model(settings: params.Params, data: Split, val: Split) -> dict[str, str]:
    """Weights and history of a short training run, and an evaluation of it."""
    from digits.drift import detector
    from digits.evaluation import metrics
    from digits.models import networks
    from digits.models.reference import Reference
    from digits.training import loop

    recipe = settings.recipe.model_copy(update={"epochs": EPOCHS})
    pixels = data.images / 255
    scale = (round(float(pixels.mean()), 6), round(float(pixels.std()), 6))
    trained = loop.train(data, val, scale, recipe, settings.train.seed, log=_progress)
    network = networks.joined([trained.model], recipe.views)
    reference = Reference(network)
    embedding, probabilities = reference.embed(val.images)
    figures = metrics.score(val.labels, probabilities, settings.evaluate)
    window = detector.reference_window(
        reference, val.images, val.labels, settings.drift, settings.ingest.ink_level
    )
    weights = b"".join(np.ascontiguousarray(w).tobytes() for w in trained.model.get_weights())
    return {
        "weights": _sha256(weights),
        "validation": _sha256(json.dumps(trained.history)),
        "predictions": _sha256(embedding.tobytes(), probabilities.tobytes()),
        "evaluation": _sha256(json.dumps(figures), window.to_csv()),
    }


def _sha256(*contents: bytes | str) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content.encode() if isinstance(content, str) else content)
    return digest.hexdigest()


def _progress(line: Any) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
