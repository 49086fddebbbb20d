"""The console command `digits`. One module a command, imported only when it is called.

Exit codes: 0 success, 1 a negative verdict, 2 a usage or input error, 130 Ctrl-C.
"""

import importlib
import sys
from typing import Any

import click

from digits.core.errors import DigitsError

# command → (module, what it does). The text stands here so that `digits --help` imports nothing.
COMMANDS = {
    "run": ("digits.cli.run", "Run the pipeline: the Prefect flow over the DVC stages."),
    "fetch": ("digits.cli.fetch", "Bring the raw data to data/, checksummed."),
    "status": ("digits.cli.status", "Champion, data version, last runs, what is stale."),
    "predict": ("digits.cli.predict", "Recognise the digit in each picture."),
    "add": ("digits.cli.add", "Take a batch of new handwriting in."),
    "drift": ("digits.cli.drift", "Is this handwriting still what the model was trained on?"),
    "compare": ("digits.cli.compare", "This tree against another revision."),
    "models": ("digits.cli.models", "The registry: register, list, promote, rollback, verify."),
    "zoo": ("digits.cli.zoo", "All models side by side: accuracy, time, size, speed."),
    "notebook": ("digits.cli.notebook", "Execute reports/digits.ipynb, the tour of the results."),
    "search": ("digits.cli.search", "Look for a better recipe: trials judged on val."),
    "report": ("digits.cli.report", "Write reports/index.html and the README's results table."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="digits")
def group() -> None:
    """Turn handwriting into a trusted digit recogniser.

    Every command has --help. Exit codes: 0 success, 1 a negative verdict (drift, regression,
    invalid data), 2 a usage or input error.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit with its code; errors become one line on stderr."""
    try:
        group.main(args=arguments, prog_name="digits", standalone_mode=False)
    except DigitsError as exc:
        print(f"digits: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("digits: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
