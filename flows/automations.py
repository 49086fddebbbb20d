"""Automations of Prefect's server: what an event starts there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows import alarms

_TRAIN = "digits-pipeline/train"
_SILENCE = 300  # s; runs send a heartbeat every 30 s (compose.yaml), busy machines later

# A run brings up to date what is stale: it trains if data or parameters have changed, say because
# the batch was labelled and added, and else takes seconds. Drift that does no harm starts none.
_TRAIN_ON_HARM = {
    "name": "Harm in new handwriting starts a training run",
    "description": f"The event {alarms.HARMFUL}, of the monitor or of 'digits label'.",
    "trigger": {
        "type": "event",
        "posture": "Reactive",
        "expect": [alarms.HARMFUL],
        "match": {"prefect.resource.id": "digits.batch.*"},
        "threshold": 1,
        "within": 0,
    },
}
# A finished run stays as it is, and a living one can finish.
_FINISH_SILENT = {
    "name": "Runs whose worker died are crashed",
    "description": f"No heartbeat for {_SILENCE} s: its worker was killed, or is cut off.",
    "trigger": {
        "type": "event",
        "posture": "Proactive",
        "after": ["prefect.flow-run.Pending", "prefect.flow-run.heartbeat"],
        "expect": ["prefect.flow-run.*"],
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": _SILENCE,
    },
    "actions": [
        {
            "type": "change-flow-run-state",
            "state": "CRASHED",
            "name": "Crashed",
            "message": f"Nothing was heard of it for {_SILENCE} s.",
        }
    ],
}


@contextmanager
def server(environment: Mapping[str, str]) -> Iterator[SyncPrefectClient]:
    """A client of a server.

    Args:
        environment: PREFECT_API_URL of the server, and its PREFECT_API_AUTH_STRING if it has one.
    """
    names = {PREFECT_API_URL: "PREFECT_API_URL", PREFECT_API_AUTH_STRING: "PREFECT_API_AUTH_STRING"}
    given = {setting: environment[name] for setting, name in names.items() if name in environment}
    with temporary_settings(given), get_client(sync_client=True) as client:
        yield client


def train_on_harm(client: SyncPrefectClient) -> None:
    """Let harm in new handwriting start the training deployment."""
    deployment = str(client.read_deployment_by_name(_TRAIN).id)
    action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment}
    _keep(client, {**_TRAIN_ON_HARM, "actions": [action]})


def finish_silent(client: SyncPrefectClient) -> None:
    """Crash runs whose worker died; for servers whose workers no keeper sees."""
    _keep(client, _FINISH_SILENT)


def replace(client: SyncPrefectClient, automation: Mapping[str, Any]) -> None:
    """Create an automation, or replace the one of the same name."""
    wanted = AutomationCore.model_validate(automation)
    for known in client.read_automations_by_name(wanted.name):
        client.update_automation(known.id, wanted)
        return
    client.create_automation(wanted)


def remove(client: SyncPrefectClient, name: str) -> None:
    """Delete an automation, if there is one of this name."""
    for known in client.read_automations_by_name(name):
        client.delete_automation(known.id)


def _keep(client: SyncPrefectClient, automation: Mapping[str, Any]) -> None:
    """Create an automation, unless there is one of this name: it may have been changed."""
    wanted = AutomationCore.model_validate(automation)
    if not client.read_automations_by_name(wanted.name):
        client.create_automation(wanted)
