"""A run in a few lines: test results, what ran, how long it took, drift, where the reports are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from digits.core import files, params
from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.formatting import duration, markdown_table, markdown_text, percent
from digits.gate import verification
from digits.registry import decision
from digits.reports import gate

_METRICS = {
    "accuracy": "accuracy",
    "precision": "macro precision",
    "recall": "macro recall",
    "f1": "macro F1",
}


@dataclass(frozen=True)
class Step:
    """A step of a run.

    `unchanged` means that its results were up to date or in DVC's run cache; only a push may be
    `failed`, as any other failure ends the run.
    """

    name: str
    result: Literal["ran", "unchanged", "failed"]
    seconds: float
    note: str = ""  # shown below the table


def headline(project: Project) -> str:
    """The result in one line."""
    test = _test_results(project)
    low, high = test["accuracy_interval"]
    return (
        f"accuracy {test['accuracy']:.4f} ({low:.4f}–{high:.4f}) on {test['n']:,} test images, "
        f"{test['errors']} misread"
    )


def what_was_done(project: Project, steps: Sequence[Step]) -> str:
    """What a run did, for its name."""
    ran = [step.name for step in steps if step.result == "ran" and step.name in params.STAGES]
    accuracy = f"accuracy {percent(_test_results(project)['accuracy'])}"
    if "train" in ran:
        done = f"trained, {accuracy}"
    else:
        done = f"{', '.join(ran)} ran, {accuracy}" if ran else "nothing changed"
    failed = "".join(f"; {step.name} failed" for step in steps if step.result == "failed")
    return done + failed


def pictures(project: Project, steps: Sequence[Step]) -> str:
    """Pictures of what ran as Markdown: how training went, and what was misread."""
    from flows import pictures

    ran = {step.name for step in steps if step.result == "ran"}
    plots = {
        "train": ("curves.png", "Training"),
        "evaluate": ("mistakes.png", "Misread test images"),
    }
    shown = [
        pictures.markdown(project.plots / file, title)
        for step, (file, title) in plots.items()
        if step in ran
    ]
    return "".join(f"\n{picture}\n" for picture in shown if picture)


def rebuild_note(project: Project) -> str:
    """How the tree's results relate to the committed ones; empty if none are committed."""
    try:
        return verification.verify(project).summary()
    except DigitsError:
        return ""


def gate_note(project: Project) -> str:
    """The gate's verdict on the tree's model and its reasons; details go to build/gate."""
    try:
        decided = decision.decide(project)
    except DigitsError as exc:
        return f"Gate: not judged ({exc})"
    gate.write(project, decided)
    reasons = "; ".join(decided.judgement.reasons)
    return f"Gate: {gate.headline(decided.judgement)}: {reasons}."


def show(project: Project, steps: Sequence[Step]) -> None:
    """Print the summary."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(markdown(project, steps)))


def markdown(project: Project, steps: Sequence[Step]) -> str:
    """The summary as Markdown; `steps` is empty if there was nothing to do."""
    test = _test_results(project)
    metrics = [(label, f"{test[name]:.4f}") for name, label in _METRICS.items()]
    blocks = [
        f"**{headline(project)}**",
        markdown_table(("test set", "value"), metrics, right={1}),
        _drift_table(files.read_json(project.drift_report)["batches"]),
        *([_step_table(steps)] if steps else []),
        *(markdown_text(step.note) for step in steps if step.note),
        f"- report: {project.relative(project.index_page)}\n"
        f"- metrics: {project.relative(project.metrics)}\n"
        f"- drift: {project.relative(project.drift_report)}\n"
        f"- model: {project.relative(project.models)}, "
        f"described by {project.relative(project.model_card)}",
    ]
    return "\n\n".join(blocks) + "\n"


def _step_table(steps: Sequence[Step]) -> str:
    counts = Counter(step.result for step in steps)
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    total = f"**{counts['ran']} ran, {counts['unchanged']} unchanged{failed}**"
    rows = [
        *((step.name, step.result, duration(step.seconds)) for step in steps),
        ("**total**", total, duration(sum(step.seconds for step in steps))),
    ]
    return markdown_table(("step", "result", "time"), rows, right={2})


def _drift_table(batches: Mapping[str, dict[str, Any]]) -> str:
    rows = [
        (
            markdown_text(name),
            f"{batch['n']:,}",
            batch.get("verdict", "–"),
            f"{batch['p_value']:.2g}",
            f"{batch['estimated_accuracy']:.3f}",
        )
        for name, batch in batches.items()
    ]
    head = ("batch", "images", "verdict", "p", "estimated accuracy")
    return markdown_table(head, rows, right={1, 3, 4})


def _test_results(project: Project) -> dict[str, Any]:
    test: dict[str, Any] = files.read_json(project.metrics)["test"]
    return test
