"""What came of a campaign, as people read it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from chaos.campaign import FINAL_WITHIN, INTERVALS, RECOVERED_WITHIN, Result
from digits.formatting import markdown_table, markdown_text

_SHOWN = 300  # characters of what went wrong
_STATES = ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_COUNTS = ("jam", "lost", "orphans", "turned", "other")


def line(result: Result) -> str:
    """One injection in one line."""
    times = (
        f"ended after {_seconds(result.final)}, next run completed after "
        f"{_seconds(result.recovery)}"
    )
    mark = "ok  " if result.survived else "FAIL"
    where = f"{result.deployment} {result.phase}, {result.state}"
    return f"{mark} {result.kind} ({where}): {_wrong(result) or times}"


def page(
    results: Sequence[Result], wanted: int, seed: int, minutes: float, impossible: Sequence[str]
) -> str:
    """The tables for reports/chaos.md."""
    short = [result for result in results if not result.survived]
    made = "Made" if len(results) >= wanted else "Interrupted before its end: made"
    left_out = f"Left out there: {'; '.join(impossible)}. " if impossible else ""
    failed = [
        (result.kind, f"{result.deployment} {result.phase}", _wrong(result)) for result in short
    ]
    blocks = [
        "# What scheduled runs survive",
        f"{made} by `make chaos INJECTIONS={wanted} SEED={seed}` in {minutes:.0f} minutes: "
        f"{len(results)} injections into small projects with a server, a worker and a schedule, "
        "each at a random moment of a run. After each one, every run must reach a final state "
        f"within {FINAL_WITHIN:.0f} s, unless its process goes on ('went on'); a later "
        f"scheduled run must complete within {RECOVERED_WITHIN:.0f} s by itself; "
        "data, results and dvc.lock must be those of an undisturbed run, every batch in the "
        "inbox must have its verdict; no "
        "process may be left that belongs to no run. The champion is loaded every few seconds "
        f"all the while. {left_out}Times include the wait for the schedule (a run every "
        f"{INTERVALS['train']} s, of the monitor every {INTERVALS['monitor']} s, "
        f"{INTERVALS['clock']} s where the clock jumps) and are those of a busy machine.",
        f"**{len(results) - len(short)} of {len(results)} survived.**",
        _table(results, lambda result: result.kind, "injection"),
        _table(results, lambda result: f"{result.deployment}: {result.state}", "state of the run"),
        _table(results, lambda result: f"{result.deployment}: {result.phase}", "moment"),
        "How many there were in which state of the run, and the slowest next run:",
        _by_state(results),
    ]
    if failed:
        blocks.append(markdown_table(("injection", "moment", "what went wrong"), failed))
    return "\n\n".join(blocks) + "\n"


def _table(results: Sequence[Result], key: Callable[[Result], str], title: str) -> str:
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in sorted(results, key=key):
        groups[key(result)].append(result)
    rows = [_row(name, group) for name, group in groups.items()]
    rows.append(_row("**all**", results))
    head = (title, "n", "jams", "lost", "orphans", "completed, then not", "other", "slowest end")
    head += ("went on", "next run: median", "slowest")
    return markdown_table(head, rows, right=range(1, len(head)))


def _by_state(results: Sequence[Result]) -> str:
    states = [state for state in _STATES if any(result.state == state for result in results)]
    rows = []
    for kind in sorted({result.kind for result in results}):
        mine = [result for result in results if result.kind == kind]
        cells = [[result for result in mine if result.state == state] for state in states]
        rows.append((kind, *(_count_and_slowest(cell) for cell in cells)))
    head = ("injection", *states)
    return markdown_table(head, rows, right=range(1, len(head)))


def _count_and_slowest(group: Sequence[Result]) -> str:
    slowest = max((r.recovery for r in group if r.recovery is not None), default=None)
    return f"{len(group)}: {_seconds(slowest)}" if group else ""


def _row(name: str, group: Sequence[Result]) -> list[str]:
    counts = [sum(bool(getattr(result, field)) for result in group) for field in _COUNTS]
    recoveries = sorted(result.recovery for result in group if result.recovery is not None)
    ends = [result.final for result in group if result.final is not None]
    median = recoveries[len(recoveries) // 2] if recoveries else None
    return [
        name,
        f"{len(group)}",
        *(f"{count}" for count in counts),
        _seconds(max(ends, default=None)),
        f"{sum(result.final is None and result.survived for result in group)}",
        _seconds(median),
        _seconds(max(recoveries, default=None)),
    ]


def _wrong(result: Result) -> str:
    found = [result.jam, *result.lost, *result.orphans, result.other.strip().rpartition("\n")[2]]
    found += [f"{run}: was completed" for run in result.turned]
    return markdown_text("; ".join(filter(None, found))[:_SHOWN])


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"
