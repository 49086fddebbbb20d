"""The files of versions, from DVC's cache or remote; verified before anyone opens them."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from digits.core import files, locking
from digits.core.errors import DataError, RegistryError, StageError
from digits.core.project import Project
from digits.models import weights
from digits.registry import catalogue
from digits.registry.catalogue import CARD, MODELS, Version
from digits.versioning import dvc

_PARTIAL = "digits-partial"  # suffix of a copy that isn't complete


def materialise(project: Project, version: Version) -> Path:
    """A version as a folder for `Recogniser.load`: its models/ and model card, both verified.

    Raises:
        RegistryError: its files are missing, or they don't match its card.
    """
    card = catalogue.card(project, version.commit)
    catalogue.digests(card)
    folder = project.registry_cache / version.name
    if matches(folder, card):
        return folder
    with _exclusive(project):
        _remove_partial(project.registry_cache)
        if not matches(folder, card):  # missing or damaged; it is only a copy, so replace it
            with files.replacing_folder(folder) as temporary:
                download(project, version, temporary / MODELS)
                weights.verified(temporary, card)
                files.write_json(temporary / CARD, card)
    return folder


def get(project: Project, version: Version, out: Path | None = None) -> Path:
    """A version's folder, by default in build/registry; `out` is complete or doesn't exist.

    Raises:
        RegistryError: as for `materialise`, or `out` holds something else.
    """
    source = materialise(project, version)
    if out is None:
        return source
    card = catalogue.card(project, version.commit)
    if out.is_dir() and matches(out, card):
        return out
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RegistryError(f"{out}: exists and isn't {version.name}; choose a new folder")
    partial = out.with_name(f".{out.name}.{_PARTIAL}")
    with _exclusive(project):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(source, partial)
            weights.verified(partial, card)
            partial.rename(out)
        except OSError as exc:
            raise RegistryError(f"{out}: can't be written ({exc.strerror or exc})") from exc
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return out


def matches(folder: Path, card: dict[str, Any]) -> bool:
    """Whether a folder holds exactly the card and the weights that it lists."""
    try:
        weights.verified(folder, card)
        return bool(files.read_json(folder / CARD) == card)
    except (RegistryError, DataError):
        return False


def download(project: Project, version: Version, target: Path) -> None:
    """Copy a version's models/ from DVC's cache or remote, unverified.

    Raises:
        RegistryError: neither has it.
    """
    try:
        dvc.get(project, version.commit, MODELS, target)
    except StageError as exc:
        remote = "" if dvc.remote_configured(project) else " and no DVC remote is configured"
        raise RegistryError(
            f"{version.name}: its files are not in DVC's cache{remote} ({exc}); add the remote "
            "that has them ('dvc remote add'), or run 'digits models push' in a clone that has them"
        ) from exc


def in_remote(project: Project, version: Version) -> bool:
    """Whether exactly a version's files can be downloaded from the DVC remote, without the cache.

    `dvc push` and `dvc status --cloud` succeed also if files are missing, so this downloads them.
    """
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        try:
            dvc.get(
                project, version.commit, MODELS, Path(folder) / MODELS, cache=Path(folder) / "cache"
            )
            weights.verified(Path(folder), catalogue.card(project, version.commit))
        except (StageError, RegistryError):
            return False
    return True


def restore_command(project: Project, card: dict[str, Any]) -> str:
    """The command that brings back the weights of HEAD's model card; what has them is tried out."""
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        try:
            dvc.get(project, "HEAD", MODELS, Path(folder) / MODELS)
            weights.verified(Path(folder), card)
        except (StageError, RegistryError):
            return "digits run"
    cached = not dvc.missing_in_cache(project, MODELS)
    return f"dvc checkout --force {MODELS}" if cached else f"dvc pull --force {MODELS}"


@contextlib.contextmanager
def _exclusive(project: Project) -> Iterator[None]:
    """One download at a time; others wait, and then find the files."""

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    lock = project.state / "downloads.lock"
    with locking.exclusive(lock, "a download of model files", wait=True, on_wait=tell):
        yield


def _remove_partial(folder: Path) -> None:
    """Remove what killed downloads left; the caller is the only one that downloads."""
    for path in folder.glob(".v*"):
        shutil.rmtree(path, ignore_errors=True)
