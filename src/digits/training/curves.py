"""Loss and accuracy per epoch in DVCLive's format, for `dvc plots`, the report and the notebook."""

from collections.abc import Mapping, Sequence
from pathlib import Path

_SPLITS = {"train": "", "val": "val_"}  # with the prefix of their metrics in a Keras history
_METRICS = ("loss", "accuracy")


def write(folder: Path, histories: Sequence[Mapping[str, Sequence[float]]]) -> None:
    """Write the mean over members, up to the last epoch that all of them have.

    Args:
        histories: of each member, as in `loop.Trained`.
    """
    from dvclive import Live

    epochs = min(len(history["loss"]) for history in histories)
    with Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None) as live:
        for epoch in range(epochs):
            for split, prefix in _SPLITS.items():
                for metric in _METRICS:
                    values = [history[prefix + metric][epoch] for history in histories]
                    live.log_metric(f"{split}/{metric}", round(sum(values) / len(values), 6))
            live.next_step()


def read(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Split → metric → one value per epoch."""
    import pandas as pd

    files = folder / "plots" / "metrics"
    return {
        split: {
            metric: pd.read_csv(files / split / f"{metric}.tsv", sep="\t")[metric].tolist()
            for metric in _METRICS
        }
        for split in _SPLITS
    }
