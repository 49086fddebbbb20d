"""What the data must be, as suites over small tables. All of Great Expectations is here.

A suite's results hold run times and ids; `validate` returns what depends on the data alone.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digits.core.params import Validate

_EXAMPLES = 5
_MAX_INTENSITY = 0.5  # 0–1, of one image of a batch; MNIST's fullest has 0.4
_COLUMNS = ("id", "split", "source", "batch", "label", "writer", "sha256")
_DIGITS = list(range(10))

Suite = tuple[str, pd.DataFrame, list[Any]]


def validate(
    index: pd.DataFrame, images: np.ndarray, params: Validate, pages: Path | None = None
) -> dict[str, Any]:
    """Check index and images against all expectations.

    Args:
        index: a row an image, as `ingestion` makes it.
        images: uint8 `(n, 28, 28)`.
        pages: where Great Expectations writes its own HTML (Data Docs); holds dates.

    Returns:
        `success` and `expectations`, each with `suite`, `says`, `expectation`, `column`,
        `success`, `checked`, `unexpected_count` and `examples` (at most five), or `observed`.
    """
    suites = [
        _index_suite(index, params),
        _array_suite(index, images),
        _image_suite(index, images, params),
        _share_suite(index, params),
        _copy_suite(index, params),
    ]
    results = [row for suite in _run(suites, pages) for row in suite]
    return {"success": all(row["success"] for row in results), "expectations": results}


def validate_batch(index: pd.DataFrame, images: np.ndarray) -> dict[str, Any]:
    """Check a batch of new handwriting, before it becomes part of the data.

    Args:
        index: a row an image: `id`, `sha256` of the glyph, and where known `label` (whole number)
            and `in_test` (whether MNIST's test set holds the same glyph).
        images: uint8 `(n, 28, 28)`.

    Returns:
        As `validate`.
    """
    results = [row for suite in _run([_batch_suite(index, images)], None) for row in suite]
    return {"success": all(row["success"] for row in results), "expectations": results}


def describe(row: dict[str, Any]) -> str:
    """A broken expectation in one line: which, how many, examples."""
    text = f"{row['suite']}: {row['says']}"
    if row.get("unexpected_count"):
        examples = ", ".join(map(_example, row["examples"]))
        return (
            f"{text}: not so for {row['unexpected_count']:,} of {row['checked']:,}, e.g. {examples}"
        )
    if row.get("problem"):
        return f"{text}: {row['problem']}"
    return f"{text}: found {row.get('observed')}"


def _index_suite(index: pd.DataFrame, params: Validate) -> Suite:
    import great_expectations.expectations as gxe

    table = index[list(_COLUMNS)].copy() if set(_COLUMNS) <= set(index.columns) else index.copy()
    labelled = table["split"].ne("handwriting")
    table["train"], table["test"] = table["split"].eq("train"), table["split"].eq("test")
    table["known"] = table["label"].notna() | ~labelled
    expectations = [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=[*_COLUMNS, "train", "test", "known"],
            meta=_says("the index has its columns"),
        ),
        gxe.ExpectColumnSumToBeBetween(
            column="train",
            min_value=params.train_count,
            max_value=params.train_count,
            meta=_says(f"there are {params.train_count:,} training images"),
        ),
        gxe.ExpectColumnSumToBeBetween(
            column="test",
            min_value=params.test_count,
            max_value=params.test_count,
            meta=_says(f"there are {params.test_count:,} test images"),
        ),
        gxe.ExpectColumnValuesToBeUnique(column="id", meta=_says("no id occurs twice")),
        gxe.ExpectColumnValuesToBeOfType(
            column="id", type_="int64", meta=_says("ids are whole numbers")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="split",
            value_set=["train", "test", "handwriting"],
            meta=_says("every image is in train, test or handwriting"),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="known",
            value_set=[True],
            meta=_says("every training and test image has a label"),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="label", value_set=_DIGITS, meta=_says("every label is a digit, 0–9")
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="sha256", regex="^[0-9a-f]{64}$", meta=_says("every image has its SHA-256")
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="source", meta=_says("every source is known")),
    ]
    return "index", table, expectations


def _array_suite(index: pd.DataFrame, images: np.ndarray) -> Suite:
    import great_expectations.expectations as gxe

    height, width = images.shape[1:] if images.ndim == 3 else (0, 0)
    table = pd.DataFrame(
        {
            "images": [len(images)],
            "rows": [len(index)],
            "height": [height],
            "width": [width],
            "type": [str(images.dtype)],
        }
    )
    expectations = [
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="images", column_B="rows", meta=_says("there is one row an image")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="height", value_set=[28], meta=_says("images are 28 px high")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="width", value_set=[28], meta=_says("images are 28 px wide")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="type", value_set=["uint8"], meta=_says("pixels are uint8, 0–255")
        ),
    ]
    return "arrays", table, expectations


def _image_suite(index: pd.DataFrame, images: np.ndarray, params: Validate) -> Suite:
    import great_expectations.expectations as gxe

    flat = images.reshape(len(images), -1)
    border = np.concatenate(
        [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1
    )
    table = pd.DataFrame(
        {
            "id": index["id"],
            "darkest": flat.min(axis=1).astype(int),
            "brightest": flat.max(axis=1).astype(int),
            "intensity": index["intensity"],
            "border": border.mean(axis=1) / 255,
        }
    )
    expectations = [
        gxe.ExpectColumnValuesToBeBetween(
            column="brightest", min_value=128, max_value=255, meta=_says("no image is blank")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="darkest", min_value=0, max_value=127, meta=_says("no image is all ink")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="intensity",
            min_value=0,
            max_value=params.max_mean_intensity,
            meta=_says(
                f"ink is white on black: mean intensity at most {params.max_mean_intensity}"
            ),
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="border",
            min_value=0,
            max_value=0.1,
            meta=_says("the outermost pixels are black: mean at most 0.1"),
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="intensity",
            min_value=0.05,
            max_value=0.3,
            meta=_says("the mean image intensity is between 0.05 and 0.3"),
        ),
    ]
    return "images", table, expectations


def _share_suite(index: pd.DataFrame, params: Validate) -> Suite:
    import great_expectations.expectations as gxe

    rows = []
    for split in ("train", "test"):
        labels = index.loc[index["split"].eq(split), "label"].dropna()
        shares = labels.value_counts(normalize=True)
        rows += [{"split": split, "digit": d, "share": float(shares.get(d, 0))} for d in _DIGITS]
    expectations = [
        gxe.ExpectColumnValuesToBeBetween(
            column="share",
            min_value=params.min_class_share,
            max_value=params.max_class_share,
            meta=_says(
                f"each digit has {params.min_class_share:.0%} to {params.max_class_share:.0%} "
                "of train and of test"
            ),
        )
    ]
    return "shares", pd.DataFrame(rows), expectations


def _copy_suite(index: pd.DataFrame, params: Validate) -> Suite:
    import great_expectations.expectations as gxe

    learned = index[index["split"].isin(["train", "test"])]
    tests = learned.loc[learned["split"].eq("test"), "sha256"]
    table = pd.DataFrame(
        {
            "id": learned["id"],
            "copy": learned.duplicated(["split", "sha256"]),
            "train_and_test": learned["split"].eq("train") & learned["sha256"].isin(tests),
        }
    )
    expectations = [
        gxe.ExpectColumnMeanToBeBetween(
            column="copy",
            min_value=0,
            max_value=params.max_duplicate_share,
            meta=_says(
                f"at most {params.max_duplicate_share:.2%} of the images are exact copies of "
                "another in their split"
            ),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="train_and_test",
            value_set=[False],
            meta=_says("no image is both in train and in test"),
        ),
    ]
    return "copies", table, expectations


def _batch_suite(index: pd.DataFrame, images: np.ndarray) -> Suite:
    import great_expectations.expectations as gxe

    flat = images.reshape(len(images), -1)
    table = index.assign(
        brightest=flat.max(axis=1).astype(int),
        intensity=flat.mean(axis=1) / 255,
        copy=index["sha256"].duplicated(),
    )
    expectations = [
        gxe.ExpectColumnValuesToBeBetween(
            column="brightest", min_value=128, max_value=255, meta=_says("no image is blank")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="intensity",
            min_value=0,
            max_value=_MAX_INTENSITY,
            meta=_says(f"ink is white on black: mean intensity at most {_MAX_INTENSITY}"),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="copy", value_set=[False], meta=_says("no image is an exact copy of another")
        ),
    ]
    if "label" in table:
        expectations.append(
            gxe.ExpectColumnValuesToBeInSet(
                column="label", value_set=_DIGITS, meta=_says("every label is a digit, 0–9")
            )
        )
    if "in_test" in table:
        expectations.append(
            gxe.ExpectColumnValuesToBeInSet(
                column="in_test",
                value_set=[False],
                meta=_says("no image is one of MNIST's test images"),
            )
        )
    return "batch", table, expectations


def _says(text: str) -> dict[str, str]:
    return {"says": text}


def _run(suites: list[Suite], pages: Path | None) -> list[list[dict[str, Any]]]:
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("build")
    actions = [] if pages is None else [_pages_action(context, pages)]
    return [_run_suite(context, source, suite, actions) for suite in suites]


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
    return [_row(name, r) for r in result.results]


def _pages_action(context: Any, pages: Path) -> Any:
    from great_expectations.checkpoint import UpdateDataDocsAction

    pages.mkdir(parents=True, exist_ok=True)
    context.add_data_docs_site(
        site_name="docs",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(pages),
            },
        },
    )
    return UpdateDataDocsAction(name="docs", site_names=["docs"])


def _row(suite: str, result: Any) -> dict[str, Any]:
    config, values = result.expectation_config, result.result
    row: dict[str, Any] = {
        "suite": suite,
        "says": config.meta["says"],
        "expectation": config.type,
        "column": config.kwargs.get("column"),
        "success": bool(result.success),
    }
    problem = (result.exception_info or {}).get("exception_message")
    if problem:
        return row | {"problem": str(problem).splitlines()[0][:200]}
    if "unexpected_count" in values:
        return row | {
            "checked": int(values["element_count"]),
            "unexpected_count": int(values["unexpected_count"]),
            "examples": [_plain(v) for v in _examples(values)],
        }
    return row | {"observed": _plain(values.get("observed_value"))}


def _examples(values: dict[str, Any]) -> list[Any]:
    indices = values.get("partial_unexpected_index_list")
    return (indices or values.get("partial_unexpected_list") or [])[:_EXAMPLES]


def _example(value: Any) -> str:
    """A value, or of a row that has an id: the id, and the value unless that is just a flag."""
    if not isinstance(value, dict) or "id" not in value:
        return str(value)
    values = [str(v) for k, v in value.items() if k != "id" and not isinstance(v, bool)]
    return f"{value['id']} ({', '.join(values)})" if values else str(value["id"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value
