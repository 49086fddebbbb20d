"""`digits zoo`: training within a time limit, the model cache, the comparison and its report."""

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import REPOSITORY, exit_code, write_splits
from PIL import Image

from digits.core import files, params
from digits.core.errors import DataError
from digits.core.project import Project
from digits.data.dataset import Dataset
from digits.models import backend
from digits.recogniser import Recogniser
from digits.training import fingerprint
from digits.zoo import benchmark, cache, trainer

SIZES = {"train": 300, "val": 120, "test": 80}


@pytest.fixture(scope="module")
def untrained(
    tmp_path_factory: pytest.TempPathFactory, real_digits: tuple[np.ndarray, np.ndarray]
) -> Project:
    """A project with splits and two small models, nothing trained yet."""
    project = Project(tmp_path_factory.mktemp("zoo") / "project")
    write_splits(project.splits, real_digits, SIZES)
    (project.root / "dvc.yaml").touch()
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    plain = document["models"]["dense"] | {"widths": [16], "epochs": 2, "batch_size": 32}
    document["models"] = {"plain": plain, "pair": plain | {"members": 2}}
    document["train"]["model"] = "plain"
    project.params.write_text(yaml.safe_dump(document, sort_keys=False))
    return project


@pytest.fixture(scope="module")
def _compared(untrained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("compared") / "project")
    shutil.copytree(untrained.root, project.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        assert exit_code("zoo", "--seeds", "2") == 0
    return project


@pytest.fixture
def compared(
    _compared: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A copy of the project after `digits zoo --seeds 2`, as working directory."""
    shutil.copytree(_compared.root, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def fresh(untrained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the untrained project, as working directory."""
    shutil.copytree(untrained.root, tmp_path / "fresh")
    monkeypatch.chdir(tmp_path / "fresh")
    return Project(tmp_path / "fresh")


def models(project: Project) -> dict[str, dict[str, Any]]:
    document = files.read_json(project.zoo_report)
    return {model["name"]: model for model in document["models"]}


def cards(project: Project) -> list[dict[str, Any]]:
    return [files.read_json(path) for path in sorted(project.zoo.glob("*/card.json"))]


def test_models_are_sorted_by_validation_accuracy_and_have_all_figures(compared: Project) -> None:
    found = models(compared)
    assert set(found) == {"plain", "pair"}
    means = [model["val"]["accuracy"]["mean"] for model in found.values()]
    assert means == sorted(means, reverse=True)
    for model in found.values():
        assert model["seeds"] == [1, 2]
        assert model["not_trained"] == []
        assert min(model["images_per_second"], model["seconds"]["mean"]) > 0
        for split, figure in (("val", "accuracy"), ("test", "f1"), ("test", "recall")):
            spread = model[split][figure]
            assert spread["mean"] == pytest.approx(np.mean(spread["values"]), abs=1e-6)
            assert spread["std"] == pytest.approx(np.std(spread["values"], ddof=1), abs=1e-6)
    assert found["pair"]["parameters"] == 2 * found["plain"]["parameters"]


def test_ensembles_share_members_with_single_models_but_not_with_each_other(
    compared: Project,
) -> None:
    seconds = {
        (card["seed"], card["recipe"]["members"]): card["seconds"] for card in cards(compared)
    }
    assert sorted(seconds) == [(1, 1), (1, 2), (2, 1), (2, 2), (1001, 1), (1002, 1)]
    assert seconds[1, 2] == pytest.approx(seconds[1, 1] + seconds[1001, 1])


def test_ensemble_predicts_the_mean_of_its_members(compared: Project) -> None:
    images = np.load(compared.splits / "test-images.npy")
    found = {}
    for path in compared.zoo.glob("*/card.json"):
        card = files.read_json(path)
        recogniser = Recogniser.from_card(path.parent, card)
        found[card["seed"], card["recipe"]["members"]] = recogniser.predict(images)
    mean = (found[1, 1] + found[1001, 1]) / 2
    np.testing.assert_allclose(found[1, 2], mean, atol=1e-5)


def test_page_names_the_machine_the_arithmetic_and_the_sort_order(compared: Project) -> None:
    page = compared.zoo_page.read_text(encoding="utf-8")
    assert "Sorted by mean accuracy on the validation set" in page
    assert f"{files.read_json(compared.zoo_report)['machine']['cores']} cores" in page
    assert f"({backend.ARITHMETIC} arithmetic), ONNX Runtime" in page
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows == ["model", *models(compared)]
    for name in ("accuracy", "speed"):
        assert f"](zoo/{name}.png)" in page
        picture = Image.open(io.BytesIO((compared.zoo_plots / f"{name}.png").read_bytes()))
        assert picture.width == 1200


def test_cached_models_are_not_trained_again(
    compared: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = models(compared)
    assert exit_code("zoo", "--seeds", "2", "--json") == 0
    output = capsys.readouterr()
    assert "training run" not in output.err
    assert json.loads(output.out) == files.read_json(compared.zoo_report)
    for name, model in models(compared).items():
        assert model["val"] == before[name]["val"]
        assert model["seconds"] == before[name]["seconds"]


def test_damaged_model_is_not_used(compared: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = [
        path.parent
        for path in compared.zoo.glob("*/card.json")
        if files.read_json(path)["seed"] == 1002
    ]
    (folder / "digits.onnx").write_bytes(b"something else")
    assert exit_code("zoo", "pair", "--seeds", "2", "--minutes", "0") == 0
    output = capsys.readouterr()
    assert "digits.onnx: SHA-256 is" in output.err
    assert "pair, seed 2: not trained: time limit" in output.out
    assert models(compared)["pair"]["seeds"] == [1]
    assert "1 of 2" in compared.zoo_page.read_text(encoding="utf-8")


def test_time_limit_stops_after_the_epoch_and_the_next_command_resumes(
    compared: Project, fresh: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("zoo", "plain", "--seeds", "1", "--minutes", "0.001") == 0
    output = capsys.readouterr()
    assert "epoch 1/2" in output.err
    assert "plain, seed 1: not trained: time limit" in output.out
    assert "plain, seed 1: not trained: time limit" in fresh.zoo_page.read_text(encoding="utf-8")
    assert "val" not in models(fresh)["plain"]
    assert not fresh.zoo_plots.exists()
    assert exit_code("zoo", "plain", "--seeds", "1") == 0
    assert "resuming after epoch 1/2" in capsys.readouterr().err
    (card,) = cards(fresh)
    name = "digits.weights.h5"
    assert card["weights"][name] in [other["weights"][name] for other in cards(compared)]
    assert not list((fresh.zoo / "unfinished").iterdir())


def test_failed_training_run_is_reported_and_the_others_continue(
    compared: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("the loss became NaN")

    monkeypatch.setattr(trainer.loop, "train", fail)
    assert exit_code("zoo", "--seeds", "3") == 0
    assert "plain, seed 3: not trained: the loss became NaN" in capsys.readouterr().out
    assert models(compared)["plain"]["seeds"] == [1, 2]


def test_unknown_model_and_missing_splits_are_one_line_errors(
    fresh: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("zoo", "plain", "resnet9000") == 2
    output = capsys.readouterr().err
    assert output == "digits: params.yaml: 'models' has no 'resnet9000'; known: plain, pair\n"
    shutil.rmtree(fresh.build)
    assert exit_code("zoo", "plain") == 2
    assert "run 'dvc repro'" in capsys.readouterr().err


def test_plan_goes_seed_by_seed_with_ensembles_last() -> None:
    recipes = params.load(REPOSITORY / "params.yaml").models
    names = ("ensemble", "dense", "transfer")
    plan = trainer.plan({name: recipes[name] for name in names}, 5, None)
    assert [(run.name, run.seed) for run in plan] == [
        ("dense", 5),
        ("transfer", 5),
        ("dense", 6),
        ("dense", 7),
        *(("ensemble", seed) for seed in (5, 6, 7)),
    ]
    seeds = [member.seed for run in plan[-3:] for member in run.members()]
    assert len(set(seeds)) == len(seeds) == 3 * recipes["ensemble"].members


def test_recognisers_take_turns_when_speed_is_measured() -> None:
    calls = []

    class Fake(Recogniser):
        def __init__(self, name: str) -> None:
            self.name = name

        def predict(self, images: np.ndarray) -> np.ndarray:
            calls.append((self.name, len(images)))
            return images

    speeds = benchmark.measure_speeds(
        {"a": Fake("a"), "b": Fake("b")}, np.zeros((2000, 28, 28), np.uint8)
    )
    assert calls == [("a", 1024), ("b", 1024)] * 6
    assert all(speed["images_per_second"] > 0 for speed in speeds.values())


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ('"""Other words."""\n\ndef f(x):\n    # why\n    return x + 1\n', True),
        ("def f(x):\n    return x + 2\n", False),
    ],
)
def test_comments_and_docstrings_do_not_change_the_code_in_a_fingerprint(
    source: str, same: bool
) -> None:
    before = '"""Words."""\n\n\ndef f(x):\n    """More."""\n    return x + 1\n'
    assert (fingerprint.essence(source) == fingerprint.essence(before)) is same


def test_cache_key_depends_on_data_recipe_seed_and_code(
    untrained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = params.load(untrained.params)
    data = Dataset.read(untrained)

    def key(data: Dataset = data, model: str = "plain", seed: int = 1) -> str:
        return cache.ModelCache(untrained, settings.evaluate, data).key(
            settings.models[model], seed
        )

    other = Dataset(data.train, data.val, data.test, data.scale, "0" * 64)
    keys: Sequence[str] = [key(), key(other), key(model="pair"), key(seed=2)]
    assert key() == keys[0]
    monkeypatch.setattr(fingerprint, "_code", lambda: "other")
    assert len({*keys, key()}) == 5
