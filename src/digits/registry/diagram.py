"""A lineage as a Mermaid flowchart, which GitHub and many editors draw."""

from digits.formatting import one_line
from digits.registry.lineage import Data, Model

_MOST_USES = 60  # GitHub draws at most 500 edges, and nobody reads as many
_SHORT = 7  # hex digits of a digest or commit
_SAFE = frozenset(" .,:-_/")  # besides letters and digits


def mermaid(lineage: Model | Data) -> str:
    """The flowchart, ending with a newline."""
    chart = _Chart()
    if isinstance(lineage, Data):
        _draw_data(chart, lineage)
    else:
        _draw_model(chart, lineage)
    return "\n".join(["flowchart LR", *chart.lines]) + "\n"


class _Chart:
    """Nodes get numbered ids, so no name can be taken for a keyword."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._nodes = 0

    def node(self, *lines: str, shape: str = "[]") -> str:
        middle = len(shape) // 2
        name = f"n{self._nodes}"
        self._nodes += 1
        label = "<br>".join(map(_escape, filter(None, lines)))
        self.lines.append(f'  {name}{shape[:middle]}"{label}"{shape[middle:]}')
        return name

    def edge(self, start: str, end: str, label: str = "", arrow: str = "-->") -> None:
        middle = f'|"{_escape(label)}"|' if label else ""
        self.lines.append(f"  {start} {arrow}{middle} {end}")


def _draw_model(chart: _Chart, model: Model) -> None:
    data = chart.node("data", model.data.md5[:_SHORT] or "not recorded", shape="[()]")
    made = {"data": data}  # path → the node that makes it
    for batch in model.data.batches:
        use = "trained on" if batch.trained_on else "not trained on"
        chart.edge(chart.node(batch.name, use), data)
    stages = []
    for stage in model.stages:
        sources = sum(path.startswith("src/") for path in stage.deps)
        node = chart.node(
            stage.name, f"{sources} source deps", f"{len(stage.parameters)} parameters"
        )
        needed = [_maker(made, path) for path in stage.deps]
        for start in dict.fromkeys(one for one in needed if one):
            chart.edge(start, node)
        stages.append((stage, node))
        made |= dict.fromkeys(stage.outs, node)
    digest = next(iter(model.weights.values()), "not recorded")
    name = f"{model.name} (champion)" if model.champion else model.name
    result = chart.node(
        name, f"commit {model.commit[:_SHORT]}", f"weights {digest[:12]}", shape="([])"
    )
    for stage, node in stages:
        if any(path.split("/")[0] == "models" for path in stage.outs):
            chart.edge(node, result)
    if model.parent:
        chart.edge(chart.node(model.parent, shape="([])"), result, "parent", "-.->")


def _maker(made: dict[str, str], path: str) -> str | None:
    """The node that makes a path: its own, or that of a folder above it."""
    parts = path.split("/")
    folders = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((made[folder] for folder in folders if folder in made), None)


def _draw_data(chart: _Chart, data: Data) -> None:
    name = data.name if data.kind == "batch" else data.name[:_SHORT]
    source = chart.node(data.kind, name, shape="[()]")
    uses = [use for use in data.uses if use.how]
    for use in uses[:_MOST_USES]:
        champion = ["champion"] if use.champion else []
        versions = ", ".join(use.versions)
        node = chart.node(versions, *champion, f"commit {use.commit[:_SHORT]}", use.date)
        chart.edge(source, node, ", ".join(use.how))
    if (more := len(uses) - _MOST_USES) > 0:
        chart.edge(source, chart.node(f"{more} older"))


def _escape(text: str) -> str:
    """Untrusted text in which nothing has a meaning in Mermaid or HTML."""
    return "".join(
        char if char.isalnum() or char in _SAFE else f"#{ord(char)};" for char in one_line(text)
    )
