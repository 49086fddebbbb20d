"""Calls of Prefect's API that the server's commands and the keeper share."""

from collections.abc import Mapping
from typing import Any

import httpx

TIMEOUT = 30.0  # s for one answer; on a busy machine a server that is starting takes long


def post(url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """What the server at `url` answers.

    Raises:
        httpx.HTTPError: it doesn't, or with an error.
    """
    answer = httpx.post(f"{url}/api/{path}", json=body or {}, timeout=TIMEOUT)
    return answer.raise_for_status().json()


def delete(url: str, path: str) -> None:
    """Delete what is at `path`.

    Raises:
        httpx.HTTPError: the server at `url` doesn't answer, or with an error.
    """
    httpx.delete(f"{url}/api/{path}", timeout=TIMEOUT).raise_for_status()
