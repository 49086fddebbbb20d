"""Runs suites of expectations by Great Expectations, and reports them in plain, stable rows.

Great Expectations' own results also hold run times and ids; the rows made here depend on the data
alone.
"""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from digits.formatting import percent

_EXAMPLES = 5
_DECIMALS = 6


@dataclass(frozen=True)
class Suite:
    """Expectations on a table; `named` are the columns that identify a row in a report."""

    name: str
    table: pd.DataFrame
    expectations: list[Any]
    named: tuple[str, ...] = ("id",)


def expect(says: str, kind: str, advice: str = "", **arguments: Any) -> Any:
    """An expectation by the name of its class in Great Expectations, without `Expect`.

    Args:
        says: what is expected, in a few words.
        advice: what to do if it is broken.
    """
    import great_expectations.expectations as gxe

    return getattr(gxe, f"Expect{kind}")(**arguments, meta={"says": says, "advice": advice})


def among(column: str, values: list[Any], says: str, advice: str = "") -> Any:
    """Every value is one of `values`."""
    return expect(says, "ColumnValuesToBeInSet", advice, column=column, value_set=values)


def between(column: str, low: float, high: float, says: str, advice: str = "") -> Any:
    """Every value is from `low` to `high`."""
    limits = {"min_value": low, "max_value": high}
    return expect(says, "ColumnValuesToBeBetween", advice, column=column, **limits)


def mean(column: str, low: float, high: float, says: str, advice: str = "") -> Any:
    """The mean is from `low` to `high`."""
    limits = {"min_value": low, "max_value": high}
    return expect(says, "ColumnMeanToBeBetween", advice, column=column, **limits)


def count(column: str, number: int, says: str, advice: str = "") -> Any:
    """So many values are true."""
    limits = {"min_value": number, "max_value": number}
    return expect(says, "ColumnSumToBeBetween", advice, column=column, **limits)


def rarely(column: str, n: int, share: float, says: str, advice: str = "") -> Any:
    """At most this share of `n` values is true."""
    return expect(
        f"{says}: at most {percent(share)}",
        "ColumnValuesToBeInSet",
        advice,
        column=column,
        value_set=[False],
        mostly=1 - (math.floor(share * n + 1e-9) + 0.5) / n if share < 1 else 0.0,
    )


def at_most(share: float, n: int, chance: float) -> float:
    """What a share of `n` images may be when it is `share` in truth: more has this probability."""
    from scipy.stats import binom

    return float(max(share, binom.isf(chance, n, share) / n)) if n else share


def at_least(share: float, n: int, chance: float) -> float:
    """What a share of `n` images must be when it is `share` in truth: less has this probability."""
    return 1 - at_most(1 - share, n, chance)


def run(suites: list[Suite], pages: Path | None) -> dict[str, Any]:
    """Check all suites.

    Args:
        pages: folder for Great Expectations' own HTML (Data Docs), which holds dates.

    Returns:
        `success` and `expectations`, each with `suite`, `says`, `expectation`, `column`, `success`,
        `advice` if it is broken, and either `checked`, `unexpected_count`, its `share` if that has
        a bound, and `examples` (at most five), or `observed`.
    """
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("build")
    stored = context if pages else None
    results = [row for suite in suites for row in _run_suite(source, suite, stored)]
    if pages:
        _write_pages(context, pages)
    return {"success": all(row["success"] for row in results), "expectations": results}


def describe(row: dict[str, Any]) -> str:
    """One line on a broken expectation: how many images break it, which ones, what to do."""
    text = f"{row['suite']}: {row['says']}"
    advice = f"; {row['advice']}" if row.get("advice") else ""
    if row.get("unexpected_count"):
        examples = ", ".join(example(one, row["column"]) for one in row["examples"])
        broken, checked = row["unexpected_count"], row["checked"]
        share = f" ({percent(row['share'])})" if "share" in row else ""
        return f"{text}: broken by {broken:,} of {checked:,}{share}, e.g. {examples}{advice}"
    return f"{text}: {row.get('problem') or 'got ' + str(row.get('observed'))}{advice}"


def _run_suite(source: Any, suite: Suite, stored: Any) -> list[dict[str, Any]]:
    """The rows of a suite; its results are kept in the context `stored`, unless that is None."""
    import great_expectations as gx

    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all")
    expected = gx.ExpectationSuite(name=suite.name, expectations=suite.expectations)
    named = [column for column in suite.named if column in suite.table]
    form = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": _EXAMPLES,
        **({"unexpected_index_column_names": named} if named else {}),
    }
    dataframe = {"dataframe": suite.table}
    if stored:
        expected = stored.suites.add(expected)
        definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=expected)
        result = definition.run(batch_parameters=dataframe, result_format=form)
    else:
        result = batch.get_batch(dataframe).validate(expected, result_format=form)
    return [_row(suite.name, r.to_json_dict()) for r in result.results]


def _write_pages(context: Any, pages: Path) -> None:
    """Write the stored results as HTML: all at once, as every call compiles the templates anew."""
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
    context.build_data_docs(site_names=["docs"])


def _row(suite: str, result: dict[str, Any]) -> dict[str, Any]:
    # every float, however deep, has six decimals in reports
    result = json.loads(json.dumps(result), parse_float=lambda text: round(float(text), _DECIMALS))
    config, values = result["expectation_config"], result["result"]
    row = {
        "suite": suite,
        "says": config["meta"]["says"],
        "expectation": config["type"],
        "column": config["kwargs"].get("column"),
        "success": result["success"],
    }
    if not result["success"] and config["meta"]["advice"]:
        row["advice"] = config["meta"]["advice"]
    if problem := _problem(result["exception_info"]):
        return row | {"problem": problem.splitlines()[0][:200]}
    if "unexpected_count" not in values:
        return row | {"observed": values.get("observed_value")}
    examples = values.get("partial_unexpected_index_list") or []
    if not any(isinstance(example, dict) for example in examples):  # row numbers, as without ids
        examples = values["partial_unexpected_list"]
    if "mostly" in config["kwargs"]:
        row["share"] = round(values["unexpected_count"] / values["element_count"], _DECIMALS)
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


def example(value: Any, column: str) -> str:
    """The id of an image, the value that is wrong unless that is just a flag, and what else helps.

    A value of another column is named: `17 (label 3, read 8)`.
    """
    if not isinstance(value, dict) or "id" not in value:
        return str(value)
    values = [
        str(v) if k == column else f"{k.replace('_', ' ')} {v}"
        for k, v in value.items()
        if k != "id" and not isinstance(v, bool)
    ]
    return f"{value['id']} ({', '.join(values)})" if values else str(value["id"])
