"""The header of the report page: which commit, data, weights and machine it speaks of."""

from dataclasses import dataclass
from typing import Any

from digits.core.errors import DigitsError
from digits.core.project import Project
from digits.formatting import one_line
from digits.registry import lineage
from digits.reports.sources import Sources
from digits.versioning import consistency, git
from digits.zoo.machine import machine


@dataclass(frozen=True)
class Origin:
    """Where the page comes from. What git doesn't know is empty; `machine` has no host name.

    `data` is the MD5 of the version that the results were made from, `data_problems` says whether
    data.dvc pins another one.
    """

    commit: str
    subject: str
    date: str  # of the commit, 2026-01-31
    uncommitted: list[str]
    data: str
    data_problems: list[str]
    machine: dict[str, Any]


def read(project: Project, sources: Sources) -> Origin:
    """The origin of the working tree's results."""
    commit, subject, date = _head(project)
    try:
        data, problems = lineage.built_from(project, sources.record)
    except DigitsError:
        pinned = sources.data.md5.removesuffix(".dir") if sources.data else ""
        data, problems = sources.record.built_from or pinned, []
    uncommitted = [one_line(path) for path in consistency.uncommitted(project)] if commit else []
    return Origin(commit, subject, date, uncommitted, data, problems, machine())


def _head(project: Project) -> tuple[str, str, str]:
    try:
        line = git.run(project, "log", "-1", "--format=%H%x00%cs%x00%s")
    except DigitsError:  # no repository, or no commit yet
        return "", "", ""
    commit, date, subject = line.split("\0", 2)
    return commit, one_line(subject), date
