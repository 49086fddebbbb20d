"""Notifications of failed runs and of drift: automations of Prefect's server that send a message.

The address is one of Apprise, which Prefect's blocks use: a webhook of Slack or Discord as it is,
or a URL such as mailto://… or jsons://…. It is a secret: only a block of Prefect's database has it,
encrypted. The block's type is Slack's, the only one that takes all of these.

Prefect handles the states of a run in their order. Of runs that a schedule made less than five
minutes before they began, it waits a quarter of an hour for the first state, which it has not
recorded: failures in the first minutes after `make server` are told that much later.
"""

import logging
from collections.abc import Mapping
from typing import Any

from apprise import Apprise
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient

from digits.core.errors import DigitsError
from flows import alarms, automations

VARIABLE = "DIGITS_NOTIFY"  # environment variable: the address
_BLOCK = "digits-notifications"
_TAG = "prefect.tag.digits"  # of all deployments in prefect.yaml
_PAUSE = 3600  # s without another message about the same deployment; a run fails every 15 minutes

_FAILURE: dict[str, Any] = {
    "name": "Notify of failed runs",
    "description": f"At most one message an hour for each deployment. Made from {VARIABLE}.",
    "trigger": {
        "type": "event",
        "posture": "Reactive",
        "expect": ["prefect.flow-run.*"],
        "match": {
            "prefect.resource.id": "prefect.flow-run.*",
            "prefect.state-type": ["FAILED", "CRASHED"],
        },
        "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": _TAG},
        "for_each": ["related:deployment:prefect.resource.id"],
        "threshold": 1,
        "within": _PAUSE,
    },
}
_FAILURE_TEXT = {
    "subject": "Digits: {{ deployment.name }} {{ flow_run.state.name | lower }}",
    "body": "{{ flow_run.name }}\n{{ flow_run.state.message }}\n{{ flow_run | ui_url }}",
}

_DRIFT: dict[str, Any] = {
    "name": "Notify of drift",
    "description": f"One message for each batch that drifts or harms. Made from {VARIABLE}.",
    "trigger": {
        "type": "event",
        "posture": "Reactive",
        "expect": [alarms.HARMFUL, alarms.DRIFT],
        "match": {"prefect.resource.id": "digits.batch.*"},
        "threshold": 1,
        "within": 0,
    },
}
_DRIFT_TEXT = {
    "subject": "Digits: {{ event.event | replace('digits.', '') }}: {{ event.resource.name }}",
    "body": "{{ event.payload.summary or event.payload }}"
    "{% if flow_run %}\n{{ flow_run | ui_url }}{% endif %}",
}


def check(address: str) -> None:
    """Refuse an address that Apprise doesn't know.

    Raises:
        DigitsError: without the address, as it is a secret.
    """
    logger = logging.getLogger("apprise")
    logger.disabled = True  # its errors quote the address
    try:
        known = Apprise.instantiate(address)
    finally:
        logger.disabled = False
    if not known:
        raise DigitsError(
            f"{VARIABLE} isn't an address that Apprise knows, such as a webhook of Slack or "
            "Discord, mailto://user:password@host or jsons://host/path"
        )


def install(environment: Mapping[str, str], address: str) -> None:
    """Make the automations send to `address`; without one, remove them and what holds it.

    Args:
        environment: see `automations.server`.
    """
    with automations.server(environment) as client:
        if not address:
            _remove(client)
            return
        block = SlackWebhook.model_validate({"url": address}).save(_BLOCK, overwrite=True)
        for automation, text in ((_FAILURE, _FAILURE_TEXT), (_DRIFT, _DRIFT_TEXT)):
            action = {"type": "send-notification", "block_document_id": block, **text}
            automations.replace(client, {**automation, "actions": [action]})


def _remove(client: SyncPrefectClient) -> None:
    for automation in (_FAILURE, _DRIFT):
        automations.remove(client, automation["name"])
    for block in client.read_block_documents_by_type(SlackWebhook.get_block_type_slug()):
        if block.name == _BLOCK:
            client.delete_block_document(block.id)
