"""Which steps of a run have something to do. DVC knows, and is asked once, before the run.

Starting DVC takes a second, which is all that a stage does that has nothing to do.
"""

from typing import Any

from digits.core import params
from digits.core.project import Project
from digits.data import mnist
from digits.versioning import dvc, git
from flows.summary import Step


class Work:
    """What is stale, and whether results have changed since.

    Attributes:
        stale: the stages, and other steps, whose results don't match the files in the tree, and
            data.dvc if data/ doesn't.
    """

    def __init__(self, project: Project, force: bool = False) -> None:
        """Ask DVC.

        Args:
            force: everything is to be done, even if nothing is stale.
        """
        status = dvc.status(project)
        self.stale = set(status)
        if mnist.verify(project.mnist, params.load(project.params).fetch.sha256):
            self.stale.add("fetch")
        if not project.index_page.is_file():
            self.stale.add("report")
        self._project = project
        self._everything = force
        # what later stages were compared with: not outputs that are about to be replaced
        self._results = _results(project)
        for stage, changes in status.items():
            if any("changed outs" in change for change in changes):
                self._results.pop(stage, None)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.stale and not self._everything

    def includes(self, step: str) -> bool:
        """Whether a step, fetch or a stage, may have something to do, as far as is known now."""
        return (
            self._everything
            or step in self.stale
            or (step == "fetch" and self._project.data_pointer.name in self.stale)
        )

    def done(self, step: Step) -> None:
        """A step has ended; if its results are other ones, DVC has to look at all later stages."""
        if self._everything or not self.includes(step.name):  # nothing is to be learned from it
            return
        if step.name in params.STAGES:
            new = _results(self._project).get(step.name)
            changed = new is None or new != self._results.get(step.name)
        else:
            changed = step.name == "fetch" and step.result == "ran"
        self._everything = changed


def _results(project: Project) -> dict[str, Any]:
    """What dvc.lock records of the outputs of each stage."""
    stages = git.read_mapping(project, "dvc.lock").get("stages") or {}
    return {name: stage.get("outs") for name, stage in stages.items()}
