"""Calls of Prefect's API that the server's commands and the keeper share.

A server with PREFECT_SERVER_API_AUTH_STRING refuses calls that don't send the same string. It is
taken from Prefect's settings: the environment, .env or a profile; no file of the project holds it.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import httpx
from prefect.settings import get_current_settings
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

REFUSED = "it wants a password; set PREFECT_API_AUTH_STRING to 'user:password'"
TIMEOUT = 30.0  # s for one answer; on a busy machine a server that is starting takes long


def get(url: str, path: str) -> Any:
    """What the server at `url` answers.

    Raises:
        httpx.HTTPError: it doesn't, or with an error.
    """
    return _call("GET", url, path)


def post(url: str, path: str, body: Any = None) -> Any:
    """What the server at `url` answers to `body`, or to an empty object; None if it is nothing.

    Raises:
        httpx.HTTPError: it doesn't answer, or with an error.
    """
    return _call("POST", url, path, {} if body is None else body)


def delete(url: str, path: str) -> None:
    """Delete what is at `path`.

    Raises:
        httpx.HTTPError: the server at `url` doesn't answer, or with an error.
    """
    _call("DELETE", url, path)


def reason(exc: httpx.HTTPError) -> str:
    """Why a call failed, in one line."""
    if isinstance(exc, httpx.HTTPStatusError) and exc.response.status_code == 401:
        return REFUSED
    return str(exc).partition("\n")[0]


def credentials() -> Mapping[str, str]:
    """The variables with which Prefect's clients call this machine's server; empty without any."""
    settings = get_current_settings()
    secret = settings.server.api.auth_string or settings.api.auth_string
    return {"PREFECT_API_AUTH_STRING": secret.get_secret_value()} if secret else {}


def _headers() -> dict[str, str]:
    token = b64encode("".join(credentials().values()).encode()).decode()
    return {"Authorization": f"Basic {token}"} if token else {}


def _is_busy(exc: BaseException) -> bool:
    """Whether another process holds Prefect's database, which passes; nothing was changed then."""
    return isinstance(exc, httpx.HTTPStatusError) and exc.response.status_code == 503


@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(TIMEOUT),
    wait=wait_fixed(1),
    reraise=True,
)
def _call(method: str, url: str, path: str, body: Any = None) -> Any:
    address = f"{url}/api/{path}"
    answer = httpx.request(method, address, json=body, headers=_headers(), timeout=TIMEOUT)
    return answer.raise_for_status().json() if answer.content else None
