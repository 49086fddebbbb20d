"""What the data must be, as suites over small tables. Great Expectations is used only here.

To add an expectation, add a line to one of the suites below. Its threshold belongs in section
`validate` of params.yaml and in `Validate` of core/params.py. Great Expectations' own results also
hold run times and ids; the reports made here depend on the data alone.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digits.core.params import Validate

_EXAMPLES = 5
_MAX_INTENSITY = 0.5  # mean of an image in a batch, 0–1; MNIST's fullest image has 0.4
_COLUMNS = ["id", "split", "source", "batch", "label", "writer", "sha256"]
_DIGITS = list(range(10))

Suite = tuple[str, pd.DataFrame, list[Any]]


def validate(
    index: pd.DataFrame, images: np.ndarray, params: Validate, pages: Path | None = None
) -> dict[str, Any]:
    """Check index and images against all expectations.

    Args:
        index: one row per image, as made by `ingestion`.
        images: uint8 `(n, 28, 28)`.
        pages: folder for Great Expectations' own HTML (Data Docs), which holds dates.

    Returns:
        `success` and `expectations`, each with `suite`, `says`, `expectation`, `column`,
        `success`, `checked`, `unexpected_count` and `examples` (at most five), or `observed`.
    """
    suites = [_index_suite(index, params), _array_suite(index, images)]
    if images.shape == (len(index), 28, 28):  # else the array suite says what is wrong
        suites.append(_image_suite(index, images, params))
    suites += [_share_suite(index, params), _copy_suite(index, params)]
    return _run(suites, pages)


def validate_batch(index: pd.DataFrame, images: np.ndarray) -> dict[str, Any]:
    """Check a batch of new handwriting before it is added to the data.

    Args:
        index: one row per image: `id`, `sha256` of the glyph, and if known `label` (whole number)
            and `in_test` (whether the glyph is in MNIST's test set).
        images: uint8 `(n, 28, 28)`.

    Returns:
        As `validate`.
    """
    return _run([_batch_suite(index, images)], None)


def describe(row: dict[str, Any]) -> str:
    """One line on a broken expectation: which one, how many images break it, examples."""
    text = f"{row['suite']}: {row['says']}"
    if row.get("unexpected_count"):
        examples = ", ".join(map(_example, row["examples"]))
        count, checked = row["unexpected_count"], row["checked"]
        return f"{text}: broken by {count:,} of {checked:,}, e.g. {examples}"
    return f"{text}: {row.get('problem') or 'got ' + str(row.get('observed'))}"


def _index_suite(index: pd.DataFrame, params: Validate) -> Suite:
    table = index[_COLUMNS].copy() if set(_COLUMNS) <= set(index.columns) else index.copy()
    table["train"], table["test"] = table["split"].eq("train"), table["split"].eq("test")
    table["known"] = table["label"].notna() | table["split"].eq("handwriting")
    splits = ["train", "test", "handwriting"]
    expectations = [
        _expect(
            "the index has its columns",
            "TableColumnsToMatchSet",
            column_set=[*_COLUMNS, "train", "test", "known"],
        ),
        _count("train", params.train_count, f"there are {params.train_count:,} training images"),
        _count("test", params.test_count, f"there are {params.test_count:,} test images"),
        _expect("no id occurs twice", "ColumnValuesToBeUnique", column="id"),
        _expect("ids are whole numbers", "ColumnValuesToBeOfType", column="id", type_="int64"),
        _among("split", splits, "every image is in train, test or handwriting"),
        _among("known", [True], "every training and test image has a label"),
        _among("label", _DIGITS, "every label is a digit, 0–9"),
        _expect(
            "every image has its SHA-256",
            "ColumnValuesToMatchRegex",
            column="sha256",
            regex="^[0-9a-f]{64}$",
        ),
        _expect("every source is known", "ColumnValuesToNotBeNull", column="source"),
    ]
    return "index", table, expectations


def _array_suite(index: pd.DataFrame, images: np.ndarray) -> Suite:
    height, width = images.shape[1:] if images.ndim == 3 else (0, 0)
    found = {"images": len(images), "rows": len(index), "height": height, "width": width}
    expectations = [
        _expect(
            "the index has one row per image",
            "ColumnPairValuesToBeEqual",
            column_A="images",
            column_B="rows",
        ),
        _among("height", [28], "images are 28 px high"),
        _among("width", [28], "images are 28 px wide"),
        _among("type", ["uint8"], "pixels are uint8, 0–255"),
    ]
    return "arrays", pd.DataFrame([found | {"type": str(images.dtype)}]), expectations


def _image_suite(index: pd.DataFrame, images: np.ndarray, params: Validate) -> Suite:
    border = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    table = pd.DataFrame(
        {
            "id": index["id"],
            "darkest": images.min(axis=(1, 2)).astype(int),
            "brightest": images.max(axis=(1, 2)).astype(int),
            "intensity": index["intensity"],
            "border": np.concatenate(border, axis=1).mean(axis=1) / 255,
        }
    )
    expectations = [
        _between("brightest", 128, 255, "no image is blank"),
        _between("darkest", 0, 127, "no image is all ink"),
        _white_on_black(params.max_mean_intensity),
        _mean("border", 0, 0.1, "the outermost pixels are black: mean at most 0.1"),
        _mean("intensity", 0.05, 0.3, "the mean image intensity is between 0.05 and 0.3"),
    ]
    return "images", table, expectations


def _share_suite(index: pd.DataFrame, params: Validate) -> Suite:
    rows = []
    for split in ("train", "test"):
        labels = index.loc[index["split"].eq(split), "label"].dropna()
        shares = labels.value_counts(normalize=True)
        rows += [{"split": split, "digit": d, "share": float(shares.get(d, 0))} for d in _DIGITS]
    low, high = params.min_class_share, params.max_class_share
    says = f"each digit has {low:.0%} to {high:.0%} of train and of test"
    return "shares", pd.DataFrame(rows), [_between("share", low, high, says)]


def _copy_suite(index: pd.DataFrame, params: Validate) -> Suite:
    mnist = index[index["split"].isin(["train", "test"])]
    test = mnist.loc[mnist["split"].eq("test"), "sha256"]
    table = pd.DataFrame(
        {
            "id": mnist["id"],
            "copy": mnist.duplicated(["split", "sha256"]),
            "train_and_test": mnist["split"].eq("train") & mnist["sha256"].isin(test),
        }
    )
    share = params.max_duplicate_share
    says = f"at most {share:.2%} of the images are exact copies of another in their split"
    expectations = [
        _mean("copy", 0, share, says),
        _among("train_and_test", [False], "no image is both in train and in test"),
    ]
    return "copies", table, expectations


def _batch_suite(index: pd.DataFrame, images: np.ndarray) -> Suite:
    table = index.assign(
        brightest=images.max(axis=(1, 2)).astype(int),
        intensity=images.mean(axis=(1, 2)) / 255,
        copy=index["sha256"].duplicated(),
    )
    expectations = [
        _between("brightest", 128, 255, "no image is blank"),
        _white_on_black(_MAX_INTENSITY),
        _among("copy", [False], "no image is an exact copy of another"),
    ]
    if "label" in table:
        expectations.append(_among("label", _DIGITS, "every label is a digit, 0–9"))
    if "in_test" in table:
        expectations.append(_among("in_test", [False], "no image is one of MNIST's test images"))
    return "batch", table, expectations


def _expect(says: str, kind: str, **arguments: Any) -> Any:
    """An expectation by the name of its class in Great Expectations, without `Expect`."""
    import great_expectations.expectations as gxe

    return getattr(gxe, f"Expect{kind}")(**arguments, meta={"says": says})


def _among(column: str, values: list[Any], says: str) -> Any:
    return _expect(says, "ColumnValuesToBeInSet", column=column, value_set=values)


def _between(column: str, low: float, high: float, says: str) -> Any:
    limits = {"min_value": low, "max_value": high}
    return _expect(says, "ColumnValuesToBeBetween", column=column, **limits)


def _mean(column: str, low: float, high: float, says: str) -> Any:
    limits = {"min_value": low, "max_value": high}
    return _expect(says, "ColumnMeanToBeBetween", column=column, **limits)


def _count(column: str, count: int, says: str) -> Any:
    limits = {"min_value": count, "max_value": count}
    return _expect(says, "ColumnSumToBeBetween", column=column, **limits)


def _white_on_black(limit: float) -> Any:
    return _between("intensity", 0, limit, f"ink is white on black: mean intensity at most {limit}")


def _run(suites: list[Suite], pages: Path | None) -> dict[str, Any]:
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("build")
    actions = [] if pages is None else [_pages_action(context, pages)]
    results = [row for suite in suites for row in _run_suite(context, source, suite, actions)]
    return {"success": all(row["success"] for row in results), "expectations": results}


def _run_suite(context: Any, source: Any, suite: Suite, actions: list[Any]) -> list[dict[str, Any]]:
    import great_expectations as gx

    name, table, expectations = suite
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    expected = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    definition = gx.ValidationDefinition(name=name, data=batch, suite=expected)
    checkpoint = gx.Checkpoint(
        name=name,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=actions,
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": _EXAMPLES,
            **({"unexpected_index_column_names": ["id"]} if "id" in table else {}),
        },
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": table})
    (result,) = outcome.run_results.values()
    return [_row(name, r.to_json_dict()) for r in result.results]


def _pages_action(context: Any, pages: Path) -> Any:
    from great_expectations.checkpoint import UpdateDataDocsAction

    pages.mkdir(parents=True, exist_ok=True)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(pages)}
    context.add_data_docs_site(
        site_name="docs",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": store,
        },
    )
    return UpdateDataDocsAction(name="docs", site_names=["docs"])


def _row(suite: str, result: dict[str, Any]) -> dict[str, Any]:
    # every float, however deep, has six decimals in reports
    result = json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 6))
    config, values = result["expectation_config"], result["result"]
    row = {
        "suite": suite,
        "says": config["meta"]["says"],
        "expectation": config["type"],
        "column": config["kwargs"].get("column"),
        "success": result["success"],
    }
    if problem := _problem(result["exception_info"]):
        return row | {"problem": problem.splitlines()[0][:200]}
    if "unexpected_count" not in values:
        return row | {"observed": values.get("observed_value")}
    examples = values.get("partial_unexpected_index_list") or []
    if not any(isinstance(example, dict) for example in examples):  # row numbers, as without ids
        examples = values["partial_unexpected_list"]
    return row | {
        "checked": values["element_count"],
        "unexpected_count": values["unexpected_count"],
        "examples": examples[:_EXAMPLES],
    }


def _problem(info: dict[str, Any]) -> str | None:
    """Why an expectation couldn't be checked; Great Expectations nests this for some."""
    for entry in (info, *info.values()):
        if isinstance(entry, dict) and entry.get("exception_message"):
            return str(entry["exception_message"])
    return None


def _example(value: Any) -> str:
    """The id of an image and the value that is wrong, unless that is just a flag."""
    if not isinstance(value, dict) or "id" not in value:
        return str(value)
    values = [str(v) for k, v in value.items() if k != "id" and not isinstance(v, bool)]
    return f"{value['id']} ({', '.join(values)})" if values else str(value["id"])
