"""dvc.yaml, params.yaml, requirements.lock and the code agree with each other."""

import ast
import re
import subprocess

import grimp
import pytest
import yaml
from conftest import REPOSITORY

from digits.core import params
from digits.core.params import STAGES, Params

DEFINITION = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("digits", cache_dir=None)


def _covers(path: str, module: str) -> bool:
    """Whether a path in dvc.yaml is that of the module, or of a package around it."""
    own = "/".join(["src", *module.split(".")]) + ".py"
    return path == own or own.startswith(f"{path}/")


def _is_package(module: str) -> bool:
    return (REPOSITORY.joinpath("src", *module.split(".")) / "__init__.py").is_file()


def test_dvc_yaml_has_the_stages_of_the_code_in_their_order() -> None:
    assert tuple(DEFINITION["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_modules_that_it_imports_and_no_others(
    stage: str, imports: grimp.ImportGraph
) -> None:
    module = f"digits.stages.{stage}"
    needed = {module, *imports.find_upstream_modules(module)}
    needed -= {m for m in needed if _is_package(m)}  # only docstrings, as tested below
    listed = {d for d in DEFINITION["stages"][stage]["deps"] if d.startswith("src/")}
    assert not [m for m in needed if not any(_covers(path, m) for path in listed)]
    assert not [path for path in listed if not any(_covers(path, m) for m in needed)]


def test_init_modules_that_results_depend_on_hold_only_a_docstring() -> None:
    for path in (REPOSITORY / "src/digits").rglob("__init__.py"):
        body = ast.parse(path.read_text()).body[1:]
        assert not body or path.parent.name in ("digits", "cli"), path


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_the_parameter_sections_that_it_reads(stage: str) -> None:
    source = (REPOSITORY / "src/digits/stages" / f"{stage}.py").read_text()
    read = {name.rstrip("_") for name in re.findall(r"params\.(\w+)", source)}
    sections = {f.alias or n for n, f in Params.model_fields.items()}
    if "recipe" in read:  # of the model that is trained
        read |= {"models.${train.model}"}
        sections |= {"models.${train.model}"}
    assert set(DEFINITION["stages"][stage]["params"]) == read & sections


def test_params_yaml_has_the_sections_of_the_code_and_no_others() -> None:
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert set(document) == {f.alias or n for n, f in Params.model_fields.items()}
    params.load(REPOSITORY / "params.yaml")


def test_every_stage_has_a_module_and_a_parameter_section() -> None:
    for stage in STAGES:
        assert (REPOSITORY / "src/digits/stages" / f"{stage}.py").is_file()
        assert stage in {f.alias or n for n, f in Params.model_fields.items()}


def test_requirements_lock_has_every_dependency_and_no_url() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in lock
    text = (REPOSITORY / "pyproject.toml").read_text()
    dependencies = text.split("[project.optional")[0]
    for name in re.findall(r'^  "([A-Za-z0-9._-]+)', dependencies, re.MULTILINE):
        normalised = name.lower().replace(".", "-").replace("_", "-")
        assert f"\n{normalised}==" in lock, name


def test_every_upper_bound_has_a_reason() -> None:
    for line in (REPOSITORY / "pyproject.toml").read_text().splitlines():
        if re.match(r'\s+"[^"]*<\d', line) and "[and-cuda]" not in line:
            assert "#" in line or "tensorflow>=" in line, line


def test_top_level_has_only_the_agreed_files() -> None:
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
