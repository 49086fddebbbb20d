"""Downloads over HTTPS: capped, impatient, taken up again where they broke off.

What is loaded is decided in `digits.fetch.sources`, whether it is sound in `digits.fetch.fetch`.
"""

import fcntl
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx

from digits.core.errors import BusyError

MAX_BYTES = 64 << 20  # of a download; MNIST's largest file has 47 MB, compressed 10 MB

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_T = TypeVar("_T")


class SourceError(Exception):
    """A source can't deliver; the message is the reason, without the source's name."""


class Unreachable(SourceError):
    """Nor will it deliver anything else: its server is away, stalls or hangs up."""


@dataclass(frozen=True)
class Progress:
    """How far a download is.

    Attributes:
        source: the source's name.
        file: what is being loaded.
        done: bytes that are here.
        total: bytes in all, None if the source doesn't say.
    """

    source: str
    file: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Patience:
    """When to give up on a server.

    Attributes:
        connect: seconds to wait for a connection.
        stall: seconds without a byte; also the window in which `slowest` is looked at.
        slowest: bytes per second below which a download counts as stalled.
        attempts: how often one download is taken up again after its connection broke.
        npm: seconds for the whole npm command.
    """

    connect: float = 5
    stall: float = 10
    slowest: float = 1024
    attempts: int = 3
    npm: float = 180


@dataclass(frozen=True)
class Desk:
    """Where downloads lie until they are complete, and who wants to know about them."""

    folder: Path
    on_progress: Callable[[Progress], None]


def load(
    url: str, decode: Callable[[BinaryIO], _T], source: str, desk: Desk, patience: Patience
) -> _T:
    """What `decode` makes of a download, which continues an earlier one where that is possible.

    Args:
        url: https, or http on the loopback interface.
        decode: raises SourceError for content that is damaged.
        source: the source's name, for progress reports.
        desk: where the download lies meanwhile.
        patience: when to give up.

    Raises:
        SourceError: the server has no such file, or one that is refused or damaged.
        Unreachable: the server can't be reached, stalls or hangs up; what has come is kept if it
            can be resumed.
        BusyError: another process is loading the same.
    """
    with _part(desk.folder, url) as part:
        for attempt in range(1, patience.attempts + 1):
            before = part.size
            try:
                _download(url, part, source, desk, patience)
                return decode(part.file)
            except httpx.TransportError as exc:
                hung_up = not isinstance(exc, httpx.TimeoutException) and part.size > before
                if not (hung_up and part.resumable and attempt < patience.attempts):
                    raise Unreachable(str(exc) or type(exc).__name__) from exc
            except SourceError:
                part.clear()
                if not before or attempt == patience.attempts:
                    raise
        raise AssertionError("the last attempt returns or raises")


def shown(url: str) -> str:
    """An address without the password and the query that it may hold."""
    parts = httpx.URL(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.host}{port}{parts.path}".rstrip("/")


@dataclass
class _Part:
    """A download that isn't complete, locked against other processes."""

    path: Path
    file: BinaryIO
    resumable: bool

    @property
    def size(self) -> int:
        return self.file.seek(0, io.SEEK_END)

    def clear(self) -> None:
        self.file.truncate(0)


@contextmanager
def _part(folder: Path, url: str) -> Iterator[_Part]:
    """The partial download of `url`; it outlives the block only if it can be resumed later."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = url.rpartition("/")[2] or "download"
    path = folder / f"{stem}.{sha256(url.encode()).hexdigest()[:8]}.part"
    keep = False
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise BusyError(f"{path}: another 'digits fetch' is loading it; wait for it") from exc
        part = _Part(path, file, resumable=True)
        try:
            yield part
        except (Unreachable, KeyboardInterrupt):
            keep = part.resumable and part.size > 0
            raise
        finally:
            if not keep:
                path.unlink(missing_ok=True)


def _download(url: str, part: _Part, source: str, desk: Desk, patience: Patience) -> None:
    timeout = httpx.Timeout(patience.stall, connect=patience.connect)
    with (
        httpx.Client(timeout=timeout, headers={"Accept-Encoding": "identity"}) as client,
        _answer(client, url, part) as response,
    ):
        length = response.headers.get("content-length")
        total = part.size + int(length) if length else None
        if total is not None and total > MAX_BYTES:
            raise SourceError(f"offers {total:,} bytes, expected at most {MAX_BYTES:,}")
        file = url.rpartition("/")[2]
        for chunk in _at_least(patience, response.iter_raw()):
            part.file.write(chunk)
            done = part.size
            if done > MAX_BYTES:
                raise SourceError(f"sends more than {MAX_BYTES:,} bytes")
            desk.on_progress(Progress(source, file, done, total))


def _at_least(patience: Patience, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, as long as they come at `patience.slowest` bytes per second or faster."""
    since, received = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        received += len(chunk)
        if (seconds := time.monotonic() - since) >= patience.stall:
            if received < patience.slowest * seconds:
                raise httpx.ReadTimeout(f"sent only {received:,} bytes in {seconds:.0f} s")
            since, received = time.monotonic(), 0


@contextmanager
def _answer(client: httpx.Client, url: str, part: _Part) -> Iterator[httpx.Response]:
    """The server's answer, positioned where `part` ends; `part` is emptied if that can't be."""
    with _follow(client, url, part.size) as response:
        if _continues(response, part.size):
            part.resumable = True
            yield response
            return
        if response.status_code == 200:
            part.clear()
            part.resumable = response.headers.get("accept-ranges") == "bytes"
            yield response
            return
        if not part.size or response.status_code not in (206, 416):
            raise SourceError(f"HTTP {response.status_code} {response.reason_phrase}")
    part.clear()
    with _answer(client, url, part) as response:
        yield response


def _continues(response: httpx.Response, offset: int) -> bool:
    content_range = response.headers.get("content-range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {offset}-")


@contextmanager
def _follow(client: httpx.Client, url: str, offset: int) -> Iterator[httpx.Response]:
    """The answer after at most five redirects, none of which leaves encryption."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    start = target = httpx.URL(url)
    for _ in range(_MAX_REDIRECTS + 1):
        if not _is_safe(target, start):
            raise SourceError(f"refused {shown(str(target))}: only https is allowed")
        with client.stream("GET", target, headers=headers) as response:
            if response.status_code not in _REDIRECTS:
                yield response
                return
            target = response.url.join(response.headers.get("location", ""))
    raise SourceError(f"redirects more than {_MAX_REDIRECTS} times")


def _is_safe(target: httpx.URL, start: httpx.URL) -> bool:
    local = target.host in _LOOPBACK and start.host in _LOOPBACK
    return target.scheme == "https" or (target.scheme == "http" and local)
