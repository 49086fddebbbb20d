"""`digits verify`: is what is committed what this commit produces?"""

import json

import click

from digits.cli._terminal import json_option
from digits.core.errors import Verdict
from digits.core.project import Project
from digits.gate import verification

_HEADLINES = {
    "same": "Same bytes",
    "equivalent": "Equivalent: other bytes, figures equal within chance",
    "different": "Different",
}


@click.command("verify")
@json_option
def command(as_json: bool) -> None:
    """Check that the committed results are what this commit produces.

    Compares what is built in the working tree ('digits run') with what is committed at HEAD:

    \b
    same        every output has the committed bytes
    equivalent  other bytes from the same inputs (GPU, ARM, train.arithmetic: fast), but at least
                99.5 % equal predictions, McNemar's p ≥ 0.05, and figures within the committed
                95 % intervals
    different   anything else: other inputs, stale or altered outputs, other figures

    \b
    Exit codes: 0  same or equivalent
                1  different
                2  there is nothing to compare; run 'digits run' first
    """
    result = verification.verify(Project.find())
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2, sort_keys=True))
    else:
        click.echo(f"{_HEADLINES[result.verdict]} (HEAD is {result.commit[:7]})")
        for reason in result.reasons:
            click.echo(f"  {reason}")
        if result.changed_outputs and result.verdict != "same":
            click.echo(f"  outputs that differ: {', '.join(result.changed_outputs)}")
        if result.verdict == "equivalent":
            click.echo(f"  to restore the committed files: {verification.RESTORE}")
    if result.verdict == "different":
        raise Verdict(f"not what commit {result.commit[:7]} produces: {result.reasons[0]}")
