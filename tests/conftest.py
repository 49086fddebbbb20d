"""Fixtures and helpers: a small but complete project with git, DVC and 1,797 real digits."""

import contextlib
import functools
import importlib
import io
import operator
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pipeline
import pytest
import repository
import serving
import small
import toy_model
import warm_dvc
import yaml
from absl import logging as absl_logging
from matplotlib.figure import Figure

from digits.cli import main
from digits.core import locking, processes
from digits.core.params import Augmentation
from digits.core.project import Project
from digits.data import dataset
from digits.data.dataset import Split
from digits.gate.judgement import Judgement
from digits.registry import decision, registry
from digits.versioning import command

# a slow machine must not fail a test
hypothesis.settings.register_profile("digits", deadline=None)
hypothesis.settings.load_profile("digits")

REPOSITORY = Path(__file__).parent.parent
BINARIES = Path(sys.executable).parent
# They come first, so that the workers of a run end together. The first one makes what others share;
# those up to test_fault_catalogue don't wait for it.
LONG = (
    *("test_versions", "test_registry_kills", "test_study", "test_networks", "test_loop"),
    *("test_fault_catalogue", "test_workflows", "test_chaos", "test_schedule", "test_server"),
)
NO_AUGMENTATION = Augmentation.model_validate(dict.fromkeys(Augmentation.model_fields, 0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests: long files first, then in the order of their folders."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    """Disable telemetry, and make `python` in dvc.yaml the interpreter that runs the tests."""
    os.environ.update(processes.QUIET_TOOLS_ENV)
    os.environ["PATH"] = os.pathsep.join([str(BINARIES), os.environ["PATH"]])
    os.environ.pop("PREFECT_API_URL", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs
        signal.signal(signal.SIGINT, signal.default_int_handler)  # commands inherit it
    # else TensorFlow's handler writes to pytest's stream, which DVC's logging closes
    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__
    importlib.import_module("dvc.cli")  # not in a test, whose streams its logging would keep


@pytest.fixture(scope="session", autouse=True)
def _warm_dvc(_environment: None) -> Iterator[None]:
    """What is called in this process calls DVC as ever, but no call has to import it."""
    warm = warm_dvc.Subprocess()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "subprocess", warm)
        yield
    warm.end()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that all workers of a test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def real_digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real digits in MNIST's form: uint8 (n, 28, 28), and labels uint8 (n,)."""
    return small.digits()


@pytest.fixture(scope="session")
def _template(
    tmp_path_factory: pytest.TempPathFactory, real_digits: tuple[np.ndarray, np.ndarray]
) -> Path:
    root = tmp_path_factory.mktemp("small") / "project"
    root.mkdir()
    small.create(root, *real_digits)
    return root


@pytest.fixture
def small_project(_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh copy of the small project before its first run, as the working directory."""
    root = tmp_path / "project"
    shutil.copytree(_template, root, symlinks=True)
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture(scope="session")
def built_template(
    _template: Path, shared_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that `built_project` copies, made by the first worker that needs it. Read only."""

    def build(root: Path) -> None:
        shutil.copytree(_template, root, symlinks=True)
        finished = run("digits", "run", cwd=root)
        (shared_folder / "first-run.txt").write_text(finished.stdout)
        (root / "build" / "prefect").rename(shared_folder / "prefect")
        repository.commit_all(root)

    return _made_once("built", build, shared_folder, tmp_path_factory)


@pytest.fixture
def built_project(built_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh copy of the small project after `digits run`, committed, as the working directory."""
    root = tmp_path / "project"
    shutil.copytree(built_template, root, symlinks=True)
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture(scope="session")
def first_run(built_template: Path, shared_folder: Path) -> str:
    """What `digits run` printed when it made the project of `built_project`."""
    return (shared_folder / "first-run.txt").read_text()


@pytest.fixture(scope="session")
def prefect_home(built_template: Path, shared_folder: Path) -> Path:
    """The Prefect folder of that run; creating its database takes longer than a run."""
    return shared_folder / "prefect"


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server's API; starting one for each run would take longer."""
    project = Project(tmp_path_factory.mktemp("server"))
    shutil.copytree(prefect_home, project.build / "prefect")
    with serving.prefect_api(project) as url:
        yield url


@pytest.fixture(scope="session")
def team_template(
    built_template: Path,
    prefect_api: str,
    shared_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The small project of a team, made by the first worker that needs it. Read only.

    It has a README, a DVC remote that has all of main, and the champion v0.1.0. Models of other
    quality are on the branches `fewer-epochs` and `more-epochs`, also with committed results.
    """

    def build(root: Path) -> None:
        shutil.copytree(built_template, root, symlinks=True)
        (root / "README.md").write_text("# Small\n\n<!-- results -->\n<!-- /results -->\n")
        storage = str(shared_folder / "storage")
        repository.dvc(root, "remote", "add", "--quiet", "--default", "storage", storage)
        repository.dvc(root, "push", "--quiet")
        _digits(root, "report", "--readme")
        repository.commit_all(root)
        _digits(root, "models", "register", "-m", "first")
        _digits(root, "models", "promote", "v0.1.0")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PREFECT_API_URL", prefect_api)
            run_on_branch = _train(root, "fewer-epochs", 2, "digits", "run", "--no-push")
        (shared_folder / "fewer-epochs.txt").write_text(run_on_branch)
        _train(root, "more-epochs", 8, "dvc", "repro", "--quiet")
        repository.git(root, "switch", "--quiet", "main")
        repository.dvc(root, "checkout", "--quiet")

    return _made_once("team", build, shared_folder, tmp_path_factory)


@pytest.fixture(scope="session")
def fewer_epochs_run(team_template: Path, shared_folder: Path) -> str:
    """What `digits run` printed when it made the results of the branch `fewer-epochs`."""
    return (shared_folder / "fewer-epochs.txt").read_text()


def _train(root: Path, branch: str, epochs: int, *command: str) -> str:
    """Commit what a command makes of another number of epochs; return what it printed."""
    repository.git(root, "switch", "--quiet", "--create", branch, "main")
    repository.dvc(root, "checkout", "--quiet")
    set_param(Project(root), "models.accurate", "epochs", epochs)
    finished = run(*command, cwd=root)
    _digits(root, "report", "--readme")
    repository.git(root, "add", "--all")
    repository.git(root, "commit", "--quiet", "--message", f"{epochs} epochs")
    return finished.stdout


def _digits(root: Path, *arguments: str) -> None:
    """Run a command that must succeed, in this process."""
    with contextlib.chdir(root), contextlib.redirect_stdout(io.StringIO()) as output:
        assert exit_code(*arguments) == 0, output.getvalue()


def _made_once(
    name: str, build: Callable[[Path], object], shared: Path, temporary: pytest.TempPathFactory
) -> Path:
    """The folder of this name in `shared`; the first worker that asks for it builds it."""
    made = shared / name
    with locking.exclusive(shared / f"{name}.lock", "another worker", wait=True):
        if not made.exists():
            unfinished = temporary.mktemp(f"unfinished-{name}") / "project"
            build(unfinished)
            unfinished.rename(made)
    return made


@pytest.fixture(scope="session")
def _toy_template(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v0.1.0 and v0.2.0 are registered and in the DVC remote; HEAD's model is another one."""

    def build(root: Path) -> None:
        project = toy_model.make(root / "project")
        for seed, version in ((1, "v0.1.0"), (2, "v0.2.0")):
            toy_model.train(project, seed)
            registry.register(project, version)
        toy_model.train(project, 3)
        repository.dvc(project.root, "push", "--quiet", "--all-tags", "models")

    return _made_once("toy", build, shared_folder, tmp_path_factory) / "project"


@pytest.fixture
def toy_project(_toy_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh copy of a project with a tiny model and two versions, as the working directory."""
    project = toy_model.copy(_toy_template, tmp_path / "copy")
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def toy_clone(toy_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh clone of `toy_project`, as the working directory: no DVC cache, the same remote."""
    clone = toy_model.clone(toy_project)
    monkeypatch.chdir(clone.root)
    return clone


@pytest.fixture(scope="session")
def _two_versions(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made_once("two-versions", pipeline.two_versions, shared_folder, tmp_path_factory)


@pytest.fixture
def trained(_two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh copy of `pipeline.two_versions`, as the working directory."""
    project = repository.copy(_two_versions, tmp_path / "project")
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def cloned(trained: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh clone of `trained`, as the working directory: no data, no weights, no DVC cache."""
    folder = trained.root.parent / "clone"
    run("git", "clone", "--quiet", str(trained.root), str(folder), cwd=folder.parent)
    monkeypatch.chdir(folder)
    return Project(folder)


@pytest.fixture
def gate_approves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate says "promote" at once, for tests that are about something else."""
    judgement = Judgement("promote", "challenger", None, ["it is better"], [], {})
    decided = decision.Decision(judgement, None, None, {}, {})  # type: ignore[arg-type]
    monkeypatch.setattr(decision, "decide", lambda *_, **__: decided)


def exit_code(*arguments: str) -> int:
    """Run `digits` in this process and return its exit code."""
    try:
        main(list(arguments))
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def figure_of(plot: Any, *arguments: Any) -> Figure:
    """The Matplotlib figure that a plot function renders as PNG."""
    figure = plot.__wrapped__(*arguments)
    assert isinstance(figure, Figure)
    return figure


def figure_text(figure: Figure) -> str:
    """The title and note of a figure."""
    return " ".join(text.get_text() for text in figure.texts)


def write_splits(
    folder: Path, digits: tuple[np.ndarray, np.ndarray], sizes: dict[str, int]
) -> None:
    """Cut the digits into consecutive splits (name → size), and write them with their scale."""
    start = 0
    for name, count in sizes.items():
        Split(*(array[start : start + count] for array in digits)).write(folder, name)
        start += count
    dataset.write_scale(folder, digits[0])


def run(*command: str, cwd: Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a command, preferably one installed beside the interpreter that runs the tests."""
    program = BINARIES / command[0]
    first = str(program) if program.exists() else command[0]
    finished = subprocess.run(
        [first, *command[1:]], cwd=cwd, capture_output=True, text=True, check=False
    )
    if check and finished.returncode:
        raise AssertionError(
            f"{command} exited with {finished.returncode}\n{finished.stdout}{finished.stderr}"
        )
    return finished


def set_param(project: Project, section: str, key: str, value: object) -> None:
    """Change one value in a project's params.yaml; dots separate nested sections."""
    document = yaml.safe_load(project.params.read_text())
    functools.reduce(operator.getitem, section.split("."), document)[key] = value
    project.params.write_text(yaml.safe_dump(document, sort_keys=False))
