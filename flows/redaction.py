"""Secrets are blotted out of what commands print, before logs, states and artifacts quote it."""

import os
import re

_BLOT = "***"
_VARIABLES = re.compile("AUTH_STRING|CREDENTIAL|PASSWORD|SECRET|TOKEN|WEBHOOK")
_SHORTEST = 6  # characters; a shorter value, such as 'true', may be part of any word
# `user:password@` of an address, and the values of its query, such as a signature
_IN_ADDRESSES = re.compile(r"(?<=://)[^/\s@]+(?=@)|(?<=[?&])([\w.-]+=)[^&\s'\"]+")


def redact(text: str) -> str:
    """Without passwords in addresses, and values of environment variables with a secret's name."""
    for secret in _secrets():
        text = text.replace(secret, _BLOT)
    return _IN_ADDRESSES.sub(lambda found: f"{found[1] or ''}{_BLOT}", text)


def _secrets() -> list[str]:
    """The longest first, as one may contain another."""
    values = [value for name, value in os.environ.items() if _VARIABLES.search(name)]
    values += [value.partition(":")[2] for value in values]  # the password of 'user:password'
    return sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)
