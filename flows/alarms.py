"""Events that automations listen for: digits.drift and digits.harmful, one for each batch."""

from collections.abc import Mapping
from typing import Any, Literal

from prefect.events import Event, emit_event

HARMFUL = "digits.harmful"
DRIFT = "digits.drift"

Status = Literal["drift", "harmful"]


def emit(status: Status, batch: str, payload: Mapping[str, Any]) -> None:
    """Emit the event of a batch from a run, without waiting for the server."""
    emit_event(**_event(status, batch, payload))


def document(status: Status, batch: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a batch as the server's API takes it."""
    return Event(**_event(status, batch, payload)).model_dump(mode="json")


def _event(status: Status, batch: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event": f"digits.{status}",
        "resource": {
            "prefect.resource.id": f"digits.batch.{batch}",
            "prefect.resource.name": batch,
        },
        "payload": dict(payload),
    }
