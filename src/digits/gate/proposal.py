"""Results as a branch for a pull request: what a run changed, in one commit on top of HEAD.

Working tree, index and HEAD stay as they are.
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digits.core.errors import DataError, DigitsError
from digits.core.project import Project
from digits.formatting import one_line, percent
from digits.gate import verification
from digits.versioning import consistency, dvc, git

RESULTS = ("data.dvc", "params.yaml", "dvc.lock", "reports", "README.md")
TRAILER = "Proposed-by: digits propose"  # marks commits that a later proposal may replace
_CODE = ("src", "flows")
_MAX_SUBJECT = 72  # characters


@dataclass(frozen=True)
class Proposal:
    """What was committed: `commit` is empty and `reason` says why if there was nothing to do."""

    branch: str
    commit: str
    files: list[str]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The fields, for `--json`."""
        return asdict(self)


def propose(project: Project, branch: str, subject: str = "") -> Proposal:
    """Commit changed results on a branch, which is made or, if it is an older proposal, replaced.

    Args:
        subject: of the commit's message; by default it names what changed.

    Raises:
        DigitsError: the results are stale, code is not committed, or the branch is not a proposal.
    """
    git.run(project, "check-ref-format", "--branch", branch)
    head = git.resolve(project, "HEAD")
    if problems := consistency.check(project).problems:
        raise DigitsError(f"{'; '.join(problems)}; run 'digits run', then propose its results")
    _refuse_code(project)
    files = git.changed_files(project, head, *RESULTS) + git.new_files(project, *RESULTS)
    if reason := _nothing_new(project, head, files):
        return Proposal(branch, "", [], reason)
    tree = _tree(project, head, files)
    if tip := _tip(project, branch, tree, head):
        return Proposal(branch, tip, files, f"Branch '{branch}' has these results already")
    message = _message(project, head, subject)
    commit = git.run(project, "commit-tree", tree, "-p", head, "-m", message).strip()
    git.run(project, "update-ref", "-m", "digits propose", f"refs/heads/{branch}", commit)
    return Proposal(branch, commit, files, f"Committed on branch '{branch}'")


def _refuse_code(project: Project) -> None:
    """Results of uncommitted code can't be made again from the proposed commit."""
    changed = git.changed_files(project, "HEAD") + git.new_files(project, *_CODE)
    code = [path for path in changed if not _is_result(path)]
    if code:
        raise DigitsError(f"not committed: {', '.join(code[:5])}; commit it, then propose results")


def _is_result(path: str) -> bool:
    return any(path == name or path.startswith(f"{name}/") for name in RESULTS)


def _nothing_new(project: Project, head: str, files: list[str]) -> str:
    """Why there is nothing to propose, else empty."""
    if not files:
        return f"Nothing to propose: the results are those of commit {head[:7]}"
    try:
        verified = verification.verify(project)
    except DigitsError:  # HEAD has no results
        return ""
    rounding = verified.verdict == "equivalent"
    return f"Nothing to propose. {verified.summary()}" if rounding else ""


def _tree(project: Project, head: str, files: list[str]) -> str:
    """The tree of HEAD with the changed files, made in an index of its own."""
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        environment = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run(project, "read-tree", head, environment=environment)
        add = ("--literal-pathspecs", "add", "--all", "--", *files)
        git.run(project, *add, environment=environment)
        return git.run(project, "write-tree", environment=environment).strip()


def _tip(project: Project, branch: str, tree: str, head: str) -> str:
    """The branch's commit if it proposes this tree on top of HEAD already, else empty.

    Raises:
        DigitsError: the branch is checked out, or somebody committed to it.
    """
    current = git.run(project, "rev-parse", "--symbolic-full-name", "HEAD").strip()
    if current == f"refs/heads/{branch}":
        raise DigitsError(f"'{branch}' is checked out; choose another with --branch, or commit")
    try:
        tip = git.resolve(project, f"refs/heads/{branch}")
    except DigitsError:
        return ""
    if TRAILER not in git.run(project, "log", "-1", "--format=%B", tip).splitlines():
        raise DigitsError(
            f"'{branch}' has commits that are no proposal; choose another with --branch, "
            f"or delete it: git branch -D {branch}"
        )
    same = git.run(project, "log", "-1", "--format=%T %P", tip).split() == [tree, head]
    return tip if same else ""


def _message(project: Project, head: str, subject: str) -> str:
    sides = (head, None)  # None is the working tree
    data = [dvc.find_data_version(project, side) for side in sides]
    accuracy = [_accuracy(project, side) for side in sides]
    parameters = list(dvc.params_diff(project, head))
    what = [
        *(["data"] if data[0] != data[1] else []),
        *(["parameters"] if parameters else []),
    ]
    lines = [
        one_line(subject)[:_MAX_SUBJECT] or f"Results of new {' and '.join(what) or 'code'}",
        "",
        f"Accuracy on the test set: {' → '.join(accuracy)}",
    ]
    if data[0] != data[1]:
        names = [
            f"{version.md5[:12]} ({version.files} files)" if version else "none" for version in data
        ]
        lines.append(f"Data: {' → '.join(names)}")
    if parameters:
        lines.append(f"Parameters: {one_line(', '.join(parameters))}")
    return "\n".join([*lines, "", TRAILER])


def _accuracy(project: Project, commit: str | None) -> str:
    try:
        return percent(
            git.read_mapping(project, "reports/metrics.json", commit)["test"]["accuracy"]
        )
    except (DataError, KeyError, TypeError, ValueError):
        return "none"
