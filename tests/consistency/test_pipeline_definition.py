"""dvc.yaml, params.yaml, the code and the README say the same."""

import ast
import re
import subprocess

import grimp
import pytest
import yaml
from conftest import REPOSITORY, run

from digits.cli import COMMANDS
from digits.core import params
from digits.core.params import STAGES, Params

DEFINITION = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
README = (REPOSITORY / "README.md").read_text()


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("digits", cache_dir=None)


def _holds(listed: str, module: str) -> bool:
    """Whether a path of dvc.yaml is that of a module or of a package around it."""
    own = "/".join(["src", *module.split(".")])
    return listed == f"{own}.py" or f"{own}.py".startswith(f"{listed}/")


def _is_package(module: str) -> bool:
    return (REPOSITORY.joinpath("src", *module.split(".")) / "__init__.py").is_file()


def test_the_stages_are_those_of_the_code_in_their_order() -> None:
    assert tuple(DEFINITION["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_what_it_imports_and_nothing_else(
    stage: str, imports: grimp.ImportGraph
) -> None:
    module = f"digits.stages.{stage}"
    needed = {module, *imports.find_upstream_modules(module)}
    needed -= {m for m in needed if _is_package(m)}  # they hold a docstring: a test says so
    listed = {d for d in DEFINITION["stages"][stage]["deps"] if d.startswith("src/")}
    assert not [m for m in needed if not any(_holds(path, m) for path in listed)]
    assert not [path for path in listed if not any(_holds(path, m) for m in needed)]


def test_a_package_marker_holds_nothing_that_a_result_could_depend_on() -> None:
    for path in (REPOSITORY / "src/digits").rglob("__init__.py"):
        body = ast.parse(path.read_text()).body[1:]
        assert not body or path.parent.name in ("digits", "cli"), path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_parameter_sections_it_reads(stage: str) -> None:
    source = (REPOSITORY / "src/digits/stages" / f"{stage}.py").read_text()
    read = {name.rstrip("_") for name in re.findall(r"params\.(\w+)", source)}
    sections = {f.alias or n for n, f in Params.model_fields.items()}
    if "recipe" in read:  # of the one model that is trained
        read |= {"models.${train.model}"}
        sections |= {"models.${train.model}"}
    assert set(DEFINITION["stages"][stage]["params"]) == read & sections


def test_params_yaml_has_every_section_and_no_other() -> None:
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert set(document) == {f.alias or n for n, f in Params.model_fields.items()}
    params.load(REPOSITORY / "params.yaml")


def test_every_stage_has_its_module_and_its_section() -> None:
    for stage in STAGES:
        assert (REPOSITORY / "src/digits/stages" / f"{stage}.py").is_file()
        assert stage in {f.alias or n for n, f in Params.model_fields.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(name: str) -> None:
    done = run("digits", name, "--help", cwd=REPOSITORY)
    assert "Usage: digits" in done.stdout
    assert f"digits {name}" in README


def test_commands_of_the_readme_exist() -> None:
    for name in re.findall(r"`digits ([a-z]+)", README):
        assert name in COMMANDS, name
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_the_lock_holds_what_pyproject_asks_for_and_no_address() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in lock
    text = (REPOSITORY / "pyproject.toml").read_text()
    for name in re.findall(
        r'^  "([A-Za-z0-9-]+)', text.split("[project.optional")[0], re.MULTILINE
    ):
        assert re.search(rf"^{name}==", lock, re.MULTILINE | re.IGNORECASE), name


def test_every_upper_bound_says_why() -> None:
    for line in (REPOSITORY / "pyproject.toml").read_text().splitlines():
        if re.match(r'\s+"[^"]*<\d', line) and "[and-cuda]" not in line:
            assert "#" in line or "tensorflow>=" in line, line


def test_top_level_holds_what_was_agreed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    allowed = {
        ".ci",
        ".dvc",
        ".dvcignore",
        ".github",
        ".gitignore",
        ".pre-commit-config.yaml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "compose.yaml",
        "data.dvc",
        "dvc.lock",
        "dvc.yaml",
        "flows",
        "params.yaml",
        "prefect.yaml",
        "pyproject.toml",
        "reports",
        "requirements.lock",
        "src",
        "tests",
    }
    assert {path.split("/")[0] for path in tracked} <= allowed
