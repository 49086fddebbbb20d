"""HTTPS downloads: limited in size, resumed when a connection breaks, given up when one stalls.

`digits.fetch.sources` decides what to download, `digits.fetch.fetch` whether it is genuine.
"""

import fcntl
import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx
import tenacity

from digits.core.errors import BusyError

MAX_BYTES = 64 << 20  # per download; MNIST's largest file has 47 MB, 10 MB compressed

_MAX_REDIRECTS = 5
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_T = TypeVar("_T")

Progress = Callable[[str, int, int | None], None]  # gets file, bytes received, total if known


class SourceError(Exception):
    """A source can't deliver a file; the message is the reason, without the source's name."""

    retry = False  # whether another attempt may succeed


class Unreachable(SourceError):
    """The server is down, stalls or drops connections: don't ask it for other files either."""


@dataclass(frozen=True)
class Limits:
    """When to give up on a source."""

    connect: float = 5  # seconds to wait for a connection
    stall: float = 10  # seconds without a byte; also the period in which `min_speed` is measured
    min_speed: float = 1024  # bytes per second below which a download counts as stalled
    attempts: int = 3  # per download, as long as each one makes progress
    npm: float = 180  # seconds for the npm command


@dataclass(frozen=True)
class Downloader:
    """Downloads files into `folder`, where incomplete ones stay if they can be resumed."""

    folder: Path
    on_progress: Progress
    limits: Limits = field(default_factory=Limits)

    def load(self, url: str, decode: Callable[[BinaryIO], _T]) -> _T:
        """Download a file, or the rest of one, and return what `decode` makes of it.

        Args:
            url: https, or http on the loopback interface.
            decode: raises SourceError if the content is damaged.

        Raises:
            SourceError: the server doesn't have the file, or its answer is refused or damaged.
            Unreachable: the server can't be reached, stalls or drops the connection.
            BusyError: another process is downloading the same file.
        """
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda exc: getattr(exc, "retry", False)),
            stop=tenacity.stop_after_attempt(self.limits.attempts),
            reraise=True,
        )
        with _partial_file(self.folder, url) as part:
            return attempts(self._attempt, url, part, decode)

    def _attempt(self, url: str, part: "_PartialFile", decode: Callable[[BinaryIO], _T]) -> _T:
        start = part.size
        try:
            self._download(url, part)
            return decode(part.file)
        except httpx.TransportError as exc:
            error = Unreachable(str(exc) or type(exc).__name__)
            stalled = isinstance(exc, httpx.TimeoutException)
            error.retry = part.resumable and part.size > start and not stalled
            raise error from exc
        except SourceError as exc:
            part.clear()
            exc.retry = start > 0  # what an earlier attempt left may be damaged
            raise

    def _download(self, url: str, part: "_PartialFile") -> None:
        """Append to `part` what is missing of it.

        Raises:
            httpx.TransportError: the server is down, stalls or drops the connection.
            SourceError: any other reason.
        """
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
        timeout = httpx.Timeout(self.limits.stall, connect=self.limits.connect)
        with (
            httpx.Client(timeout=timeout, headers=headers) as client,
            closing(_get(client, httpx.URL(url))) as response,
        ):
            part.prepare_for(response)
            length = response.headers.get("content-length")
            total = part.size + int(length) if length else None
            if total is not None and total > MAX_BYTES:
                raise SourceError(f"offers {total:,} bytes, expected at most {MAX_BYTES:,}")
            for chunk in self._refuse_stalling(response.iter_raw()):
                part.file.write(chunk)
                if part.size > MAX_BYTES:
                    raise SourceError(f"sends more than {MAX_BYTES:,} bytes")
                self.on_progress(url.rpartition("/")[2], part.size, total)

    def _refuse_stalling(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks; raise httpx.ReadTimeout once they arrive too slowly."""
        start, received = time.monotonic(), 0
        for chunk in chunks:
            yield chunk
            received += len(chunk)
            if (seconds := time.monotonic() - start) >= self.limits.stall:
                if received < self.limits.min_speed * seconds:
                    raise httpx.ReadTimeout(f"sent only {received:,} bytes in {seconds:.0f} s")
                start, received = time.monotonic(), 0


def without_secrets(url: str) -> str:
    """A URL without the password and query that it may contain."""
    return str(httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")


@dataclass
class _PartialFile:
    """An incomplete download, locked against other processes."""

    file: BinaryIO
    resumable: bool

    @property
    def size(self) -> int:
        return self.file.seek(0, io.SEEK_END)

    def clear(self) -> None:
        self.file.truncate(0)

    def prepare_for(self, response: httpx.Response) -> None:
        """Check the status; clear the file if the response doesn't continue it."""
        content_range = response.headers.get("content-range", "")
        if self.size and response.status_code == 206:
            self.resumable = content_range.startswith(f"bytes {self.size}-")
            if not self.resumable:
                raise SourceError(f"sends {content_range!r}, expected 'bytes {self.size}-'")
        elif response.status_code == 200:
            self.clear()
            self.resumable = response.headers.get("accept-ranges") == "bytes"
        else:
            raise SourceError(f"HTTP {response.status_code} {response.reason_phrase}")


@contextmanager
def _partial_file(folder: Path, url: str) -> Iterator[_PartialFile]:
    """Open the partial file of `url`; on exit delete it, unless a later fetch can resume it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = url.rpartition("/")[2] or "download"
    path = folder / f"{name}.{sha256(url.encode()).hexdigest()[:8]}.part"
    keep = False
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise BusyError(
                f"{path}: another 'digits fetch' is downloading it; wait for it to end"
            ) from exc
        part = _PartialFile(file, resumable=True)
        try:
            yield part
        except (Unreachable, KeyboardInterrupt):
            keep = part.resumable and part.size > 0
            raise
        finally:
            if not keep:
                path.unlink(missing_ok=True)


def _get(client: httpx.Client, url: httpx.URL) -> httpx.Response:
    """The response, its body unread, after at most five redirects that all stay encrypted.

    httpx follows redirects itself, but reads their bodies, however large.
    """
    request = client.build_request("GET", url)
    for _ in range(_MAX_REDIRECTS + 1):
        loopback = url.host in _LOOPBACK and request.url.host in _LOOPBACK
        if request.url.scheme != "https" and not (request.url.scheme == "http" and loopback):
            raise SourceError(f"refused {without_secrets(str(request.url))}: only https is allowed")
        response = client.send(request, stream=True)
        if response.next_request is None:
            return response
        response.close()
        request = response.next_request
    raise SourceError(f"redirects more than {_MAX_REDIRECTS} times")
