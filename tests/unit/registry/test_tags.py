"""Tags: signed where there is a key, and created although a killed git left a lock."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from repository import git, run

from digits.core.errors import RegistryError
from digits.core.project import Project
from digits.registry import checks, registry, tags
from digits.registry.tags import Signature


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The public half of a new SSH key."""
    run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key"))
    return tmp_path / "key.pub"


def sign_with(project: Project, key: Path) -> None:
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(key))):
        git(project.root, "config", name, value)


def trust(project: Project, *keys: Path) -> None:
    """Tell git whose signatures are good."""
    file = project.root.parent / "allowed"
    file.write_text("".join(f"somebody@localhost {key.read_text()}" for key in keys))
    git(project.root, "config", "gpg.ssh.allowedSignersFile", str(file))


def signature(project: Project, version: str) -> Signature:
    return checks.check_tags(project, version)[0].signature


def test_tags_are_signed_where_there_is_a_key(toy_project: Project, key: Path) -> None:
    assert signature(toy_project, "v0.1.0") == "none"
    sign_with(toy_project, key)
    made = registry.register(toy_project)
    assert signature(toy_project, made.name) == "unknown key"
    trust(toy_project, key)
    assert signature(toy_project, made.name) == "good"
    assert made.why == ""
    assert made.facts["commit"] == made.commit  # the signature isn't taken for facts


@pytest.mark.skipif(not shutil.which("gpg"), reason="needs gpg")
def test_an_openpgp_signature_is_good(
    toy_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    try:
        arguments = ("--batch", "--passphrase", "", "--quick-generate-key", "somebody@localhost")
        run(tmp_path, "gpg", *arguments)
        git(toy_project.root, "config", "user.signingKey", "somebody@localhost")
        assert signature(toy_project, registry.register(toy_project).name) == "good"
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False)


def test_a_changed_annotation_makes_the_signature_bad(
    toy_project: Project, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_with(toy_project, key)
    trust(toy_project, key)
    made = registry.register(toy_project, why="a good reason")
    text = git(toy_project.root, "cat-file", "tag", made.tag).replace("good reason", "bad reason")
    (toy_project.root / "forged").write_text(text)
    forged = git(toy_project.root, "hash-object", "-t", "tag", "-w", "forged").strip()
    git(toy_project.root, "update-ref", f"refs/tags/{made.tag}", forged)
    (check,) = checks.check_tags(toy_project, made.name)
    assert (check.signature, check.ok) == ("bad", False)


def test_a_key_that_cannot_sign_makes_no_tag(toy_project: Project, tmp_path: Path) -> None:
    sign_with(toy_project, tmp_path / "missing.pub")
    with pytest.raises(RegistryError, match=r"no tag was made: .*tag\.gpgSign false"):
        registry.register(toy_project)
    assert len(registry.versions(toy_project)) == 2
    git(toy_project.root, "config", "tag.gpgSign", "false")
    assert signature(toy_project, registry.register(toy_project).name) == "none"


def test_without_a_name_git_makes_no_tag_and_the_message_says_how_to_set_it(
    toy_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(toy_project.root, "config", "--unset", "user.name")
    git(toy_project.root, "config", "--unset", "user.email")
    git(toy_project.root, "config", "user.useConfigOnly", "true")
    with pytest.raises(RegistryError, match=r"git config user\.name NAME"):
        registry.register(toy_project)


def test_an_abandoned_lock_of_a_killed_git_is_removed(toy_project: Project) -> None:
    lock = toy_project.root / ".git" / "refs" / "tags" / "digits@v0.2.1.lock"
    other = lock.with_name("release-1.lock")
    for file in (lock, other):
        file.touch()
        os.utime(file, (time.time() - 60,) * 2)
    assert registry.register(toy_project).name == "v0.2.1"
    assert not lock.exists()
    assert other.exists()  # not ours


def test_a_lock_that_git_has_just_taken_is_left_alone(toy_project: Project) -> None:
    lock = toy_project.root / ".git" / "refs" / "tags" / "digits@v0.2.1.lock"
    lock.touch()
    started = time.monotonic()
    tags.clear_abandoned_locks(toy_project)
    assert time.monotonic() - started > 1.5
    assert not lock.exists()


def test_the_annotation_is_small(toy_project: Project) -> None:
    with pytest.raises(RegistryError, match="too large"):
        tags.create(toy_project, "digits@v1.0.0", "HEAD", "x", {"recipe": "x" * 70_000})
