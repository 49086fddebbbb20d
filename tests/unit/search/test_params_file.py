"""Writing a recipe into params.yaml leaves every other line alone."""

import difflib
import io

import pytest
import yaml
from conftest import REPOSITORY
from ruamel.yaml import YAML

from digits.core import params
from digits.core.params import Recipe
from digits.search import params_file

TEXT = (REPOSITORY / "params.yaml").read_text()
START = params.load(REPOSITORY / "params.yaml").models["accurate"]
OTHER = START.model_copy(update={"widths": (8, 16, 16), "learning_rate": 1e-5})


def written(text: str, name: str = "tuned") -> Recipe:
    return Recipe.model_validate(yaml.safe_load(text)["models"][name])


def changes(before: str, after: str) -> list[str]:
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line.rstrip() for line in compared if line[0] in "+-"]


def test_new_recipe_is_added_at_the_end_with_the_differing_values_only() -> None:
    text = params_file.put(TEXT, "found", OTHER, "accurate")
    assert changes(TEXT, text) == [
        "+   found:                  # found by 'digits search'; see reports/search.json",
        "+     <<: *accurate",
        "+     widths: [8, 16, 16]",
        "+     learning_rate: 1.0e-05",
    ]
    assert list(yaml.safe_load(text)["models"])[-1] == "found"
    assert written(text, "found") == OTHER


def test_changed_augmentation_is_written_in_full() -> None:
    more = START.augmentation.model_copy(update={"rotation": 12.5})
    recipe = START.model_copy(update={"augmentation": more})
    text = params_file.put(TEXT, "found", recipe, "accurate")
    assert written(text, "found") == recipe
    assert len(changes(TEXT, text)) == 3 + len(more.model_dump())


def test_existing_recipe_changes_in_place() -> None:
    text = params_file.put(TEXT, "cnn", OTHER, "accurate")  # others refer to its anchor
    names = list(yaml.safe_load(TEXT)["models"])
    assert list(yaml.safe_load(text)["models"]) == names
    assert written(text, "cnn") == OTHER
    assert written(text, "tiny") == written(TEXT, "tiny")  # they share an augmentation
    assert "cnn: &plain" in text


def test_writing_a_recipe_twice_is_the_same_as_once() -> None:
    once = params_file.put(TEXT, "found", OTHER, "accurate")
    assert params_file.put(once, "found", OTHER, "accurate") == once


def test_whole_recipe_is_written_if_the_base_has_no_anchor() -> None:
    plain = yaml.safe_dump({"models": {"accurate": START.model_dump(mode="json")}, "z": [1]})
    text = params_file.put(plain, "tuned", OTHER, "accurate")
    assert written(text) == OTHER
    assert all(line.startswith("+") for line in changes(plain, text))


@pytest.mark.parametrize("end", ["", "\n", "\n# the end\n"])
def test_models_may_be_the_last_section(end: str) -> None:
    entry = yaml.safe_dump({"accurate": START.model_dump(mode="json")}, sort_keys=False)
    plain = "models:\n" + "".join(f"   {line}\n" for line in entry.splitlines())
    text = params_file.put(plain.rstrip("\n") + end, "tuned", OTHER, "accurate")
    assert written(text) == OTHER
    assert end.strip() in text


def test_line_endings_are_kept() -> None:
    text = params_file.put(TEXT.replace("\n", "\r\n"), "found", OTHER, "accurate")
    assert text.replace("\r\n", "\n").count("\n") == text.count("\r\n") == text.count("\r")


def test_recipe_is_added_to_a_file_in_flow_style() -> None:
    flow = f"models: {{accurate: {START.model_dump_json()}}}\n"
    text = params_file.put(flow, "tuned", OTHER, "accurate")
    assert written(text) == OTHER
    assert written(text, "accurate") == START


def test_others_write_yaml_as_before() -> None:
    params_file.put(TEXT, "tuned", OTHER, "accurate")
    written = io.StringIO()
    YAML().dump({"pretrained": None}, written)  # as DVC writes dvc.lock
    assert written.getvalue() == "pretrained:\n"
