"""Reading and writing files: atomically, deterministically, with size limits."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_JSON_LIMIT = 64 << 20  # bytes; our largest report is under 1 MB


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path; it replaces `path` if the block succeeds, and is deleted if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder; it replaces `path` if the block succeeds, and is deleted if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write sorted, indented JSON atomically; NaN and infinity are errors."""
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """The document in a JSON file.

    Raises:
        DataError: the file is missing, over 64 MiB or not JSON.
    """
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise DataError(f"{path}: larger than {_JSON_LIMIT >> 20} MiB; not read")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise _missing(path) from exc
    except ValueError as exc:
        raise DataError(f"{path}: not valid JSON ({exc})") from exc


def write_array(path: Path, array: "np.ndarray") -> None:
    """Write one array as .npy atomically."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> "np.ndarray":
    """The array in an .npy file, memory-mapped and read-only; pickles are refused.

    Raises:
        DataError: the file is missing or not an .npy file.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as exc:
        raise _missing(path) from exc
    except (ValueError, EOFError, OSError) as exc:
        raise DataError(f"{path}: not a NumPy array file ({exc})") from exc


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as Parquet, CSV or TSV, depending on the suffix; same table, same bytes."""
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            separator = "\t" if path.suffix == ".tsv" else ","
            table.to_csv(temporary, index=False, sep=separator, lineterminator="\n")


def read_table(path: Path) -> "pd.DataFrame":
    """The table in a Parquet file.

    Raises:
        DataError: the file is missing or damaged.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except FileNotFoundError as exc:
        raise _missing(path) from exc
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: not a Parquet table ({exc})") from exc


def _missing(path: Path) -> DataError:
    return DataError(f"{path}: not found; run 'dvc repro' or 'dvc pull' to create it")
