"""The console command `digits`: one module per command, imported only when the command is used.

Exit codes: 0 success, 1 a negative verdict, 2 a usage or input error, 130 interrupted by Ctrl-C.
"""

import importlib
import sys
from typing import Any

import click

from digits.core import processes
from digits.core.errors import DigitsError
from digits.formatting import one_line

# Section → command → summary. The summaries are here so that `digits --help` imports no command.
_SECTIONS = {
    "Build": {
        "run": "Run the pipeline; only what changed is rebuilt.",
        "fetch": "Download the raw data and check it.",
        "status": "Show the champion, the data version, stale stages, last and next runs.",
        "report": "Write the HTML report and the README's results table.",
    },
    "Handwriting": {
        "predict": "Recognise the digit in each picture.",
        "drift": "Test a batch of handwriting for drift.",
        "dashboard": "Show all drift checks over time, in a browser.",
        "add": "Add a batch of handwriting to the data.",
        "label": "Compare the estimate for a checked batch with labels that came later.",
    },
    "Models": {
        "gate": "Judge whether a model may replace the champion.",
        "compare": "Compare results with another revision.",
        "propose": "Commit new results on a branch, for a pull request.",
        "verify": "Check that the committed results are what this commit produces.",
        "lineage": "Show what made a model, or which models used data.",
        "models": "Register, promote, roll back and verify model versions.",
        "zoo": "Benchmark all models of params.yaml against each other.",
        "search": "Search for better hyperparameters.",
        "notebook": "Execute the notebook that explores data, models and mistakes.",
    },
}
COMMANDS = {name: text for section in _SECTIONS.values() for name, text in section.items()}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"digits.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:9}", text) for name, text in commands.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="digits")
def group() -> None:
    """Train a digit recogniser, check it, use it.

    'digits run' builds everything; 'digits COMMAND --help' explains a command.

    \b
    Exit codes: 0  success
                1  a negative verdict: drift, regression, invalid data
                2  a usage or input error; stderr says what to do
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line. Errors become one line on stderr and an exit code."""
    if processes.watched_pids():  # as a step of a run: nothing goes on after it was killed
        processes.end_with_ancestors()
    try:
        group.main(args=arguments, prog_name="digits", standalone_mode=False)
    except DigitsError as exc:
        # it may quote a hostile file; a command that has printed its verdict raises it without one
        if message := one_line(str(exc)):
            print(f"digits: {message}", file=sys.stderr)
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("digits: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
