"""From a first version to a rollback, as a team does it: commands, exit codes, what they say."""

import contextlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import exit_code, run
from PIL import Image
from repository import dvc, git

from digits.core import files
from digits.core.project import Project

pytestmark = pytest.mark.timeout(1800)  # the making of `team_template`, and forty commands

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def clone(team_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh clone of the team's project without versions, with its DVC cache."""
    root = tmp_path / "clone"
    run("git", "clone", "-q", "--no-tags", str(team_template), str(root), cwd=tmp_path)
    for key, value in (("name", "Tester"), ("email", "tester@example.com")):
        run("git", "config", f"user.{key}", value, cwd=root)
    shutil.copytree(team_template / ".dvc" / "cache", root / ".dvc" / "cache")
    dvc(root, "checkout", "-q")
    for branch in ("fewer-epochs", "more-epochs"):
        run("git", "branch", "-q", "--no-track", branch, f"origin/{branch}", cwd=root)
    # this clone is where main is
    run("git", "remote", "remove", "origin", cwd=root)
    monkeypatch.chdir(root)
    return Project(root)


def digits(*arguments: str, code: int = 0) -> Done:
    """Run a command, here in the clone, that must end with this exit code.

    It runs in this process, as starting another one takes a second.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = exit_code(*arguments)
    done = Done(arguments, ended, out.getvalue(), err.getvalue())
    assert ended == code, f"{arguments}: {ended}\n{done.stdout}{done.stderr}"
    return done


def check_out(project: Project, branch: str) -> None:
    """Check out a branch with its model and everything else that DVC tracks."""
    git(project.root, "checkout", "-q", branch)
    dvc(project.root, "checkout", "-q", "--force")


def pictures(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(255 - image).save(folder / f"{number:02}.png")
    return folder


def predictions(folder: Path) -> bytes:
    """What the champion reads, and how surely."""
    return digits("predict", str(folder), "--json").stdout.encode()


def test_from_the_first_version_to_a_rollback(
    clone: Project, tmp_path: Path, real_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    folder = pictures(tmp_path / "pictures", real_digits[0][300:330])

    # the first version is judged by the limits alone
    assert "v0.1.0: registered" in digits("models", "register", "-m", "first").stdout
    assert "v0.1.0: now the champion" in digits("models", "promote", "v0.1.0").stdout
    first = predictions(folder)

    # a worse parameter on a branch
    check_out(clone, "fewer-epochs")
    compared = digits("compare", "main", code=1)
    assert "egression" in "".join(compared.stdout.splitlines()[:3])
    judged = json.loads(digits("gate", "--json", code=1).stdout)
    assert judged["verdict"] == "reject"
    assert any("the test set: worse by more than chance" in one for one in judged["reasons"])
    digits("report")
    page = clone.index_page.read_text()
    assert "must not ship" in page
    assert "fewer-epochs" in page or "2 epochs" in page  # which commit this is a page of
    digits("models", "register")
    unmerged = digits("models", "promote", "v0.1.1", code=2)
    assert "merge" in unmerged.stderr
    without_reason = digits("models", "promote", "v0.1.1", "--force", code=2)
    assert "--reason" in without_reason.stderr

    # back on main: models/ is still the branch's; the message names the command that helps
    git(clone.root, "checkout", "-q", "main")
    assert "v0.1.0" in digits("models", "register", code=2).stderr  # HEAD is registered
    git(clone.root, "commit", "-q", "--allow-empty", "-m", "Nothing new")
    refused = digits("models", "register", code=2)
    assert "'dvc checkout --force models'" in refused.stderr
    dvc(clone.root, "checkout", "-q", "--force", "models")
    refused = digits("models", "register", code=2)
    assert "'dvc checkout'" in refused.stderr  # build/ is the branch's, too
    dvc(clone.root, "checkout", "-q")
    assert "v0.1.0" in digits("models", "register", code=2).stderr  # its weights are known

    # the worse version, merged: now the gate refuses it
    git(clone.root, "tag", "before-the-merge")
    git(clone.root, "merge", "-q", "fewer-epochs")
    rejected = digits("models", "promote", "v0.1.1", code=1)
    assert "rejects" in rejected.stderr
    assert "worse by more than chance" in rejected.stderr
    git(clone.root, "reset", "-q", "--hard", "before-the-merge")
    dvc(clone.root, "checkout", "-q", "--force")

    # a better parameter on a branch, merged
    check_out(clone, "more-epochs")
    compared = digits("compare", "main")
    assert "etter" in "".join(compared.stdout.splitlines()[:3])
    assert json.loads(digits("gate", "--json").stdout)["verdict"] == "promote"
    git(clone.root, "checkout", "-q", "main")
    git(clone.root, "merge", "-q", "more-epochs")
    dvc(clone.root, "checkout", "-q", "--force")
    digits("models", "register", "-m", "more epochs")
    assert "v0.1.2: now the champion" in digits("models", "promote", "v0.1.2").stdout
    second = predictions(folder)
    assert second != first

    # new data, committed, that nothing was trained on
    batch = pictures(tmp_path / "batch", real_digits[0][400:440])
    labels = tmp_path / "labels.csv"
    lines = [f"{number:02}.png,{real_digits[1][400 + number]}" for number in range(40)]
    labels.write_text("\n".join(["filename,label", *lines]) + "\n")
    digits("add", str(batch), "--name", "mine", "--labels", str(labels), "--accept-drift")
    git(clone.root, "commit", "-qam", "New handwriting")
    stale = digits("models", "register", code=2)
    assert "ingest" in stale.stderr
    assert "ingest" in digits("status").stdout
    assert json.loads(digits("gate", "--json", code=1).stdout)["verdict"] == "cannot judge"
    digits("report")
    page = clone.index_page.read_text()
    assert "ingest is stale" in page
    assert "belong together ✓" not in page
    digits("compare", "HEAD", code=1)
    digits("verify", code=1)

    # the first version is the champion again, byte for byte
    digits("models", "rollback", "--reason", "a try")
    assert predictions(folder) == first
    got = Path(digits("models", "get", "champion").stdout.strip())
    card = files.read_json(got / "reports" / "model.json")
    for name, digest in card["weights"].items():
        assert files.sha256(got / name) == digest
    digits("models", "verify")
    history = digits("models", "history").stdout
    assert all(version in history for version in ("v0.1.0", "v0.1.1", "v0.1.2"))
