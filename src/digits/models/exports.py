"""A trained network exported to formats that run without Keras: ONNX and LiteRT.

Both take images uint8 `(n, 28, 28)` and return embeddings `(n, k)` and probabilities `(n, 10)`.
"""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from digits.core.errors import RegistryError
from digits.models import arithmetic
from digits.models.backend import discarded_stderr, keras

if TYPE_CHECKING:
    import onnx

_BATCH = 250
_ROUNDING = 1e-3  # differences by another order of summation are about 1e-6


def write(model: "keras.Model", path: Path, litert: Path | None = None) -> None:
    """Export a network as `networks.joined` returns it; equal networks give equal bytes.

    LiteRT files hold Keras' layer names, so they are equal only if the process has built the same
    networks before.

    Args:
        path: of the ONNX file.
        litert: of the LiteRT file, if one is wanted; it doubles the time.
    """
    import onnx

    model(
        np.zeros((1, *model.input.shape[1:]), np.uint8)
    )  # Keras exports only models that were called
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx uses deprecated NumPy functions
        model.export(str(path), format="onnx", verbose=False)
        if litert:
            with arithmetic.folded(model):
                model.export(str(litert), format="litert", verbose=False)
    network = onnx.load(path)
    _canonical(network.graph)
    onnx.save(network, path)


def _canonical(graph: "onnx.GraphProto") -> None:
    """Order and name the nodes of an ONNX graph by their computation alone.

    tf2onnx and TensorFlow number names by the history of the process, and tf2onnx orders branches,
    and merges equal constants, by the order of a set of objects.
    """
    graph.doc_string = ""
    ends = (*graph.input, *graph.output)
    for end in ends:
        end.type.tensor_type.shape.dim[0].dim_param = "n"
    nodes = _depth_first(graph)
    del graph.node[:]
    graph.node.extend(nodes)

    found = {constant.name: constant for constant in graph.initializer}
    del graph.initializer[:]
    names = {end.name: end.name for end in ends} | {"": ""}
    kept: dict[bytes, str] = {}
    for name in (name for node in nodes for name in node.input if name in found):
        constant = found.pop(name)
        constant.name = ""
        content = constant.SerializeToString(deterministic=True)
        if content not in kept:
            constant.name = kept[content] = f"constant_{len(kept)}"
            graph.initializer.append(constant)
        names[name] = kept[content]
    for place, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{place}"
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [
            names.setdefault(n, f"{node.name}:{i}") for i, n in enumerate(node.output)
        ]


def _depth_first(graph: "onnx.GraphProto") -> "list[onnx.NodeProto]":
    """The nodes that the outputs need, each after its inputs."""
    made_by = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, onnx.NodeProto] = {}
    waiting = [output.name for output in reversed(graph.output)]
    while waiting:
        node = made_by.get(waiting[-1])
        if node is None or node.output[0] in ordered:
            waiting.pop()
            continue
        unread = [n for n in node.input if n in made_by and made_by[n].output[0] not in ordered]
        if unread:
            waiting.append(unread[0])
        else:
            ordered[node.output[0]] = node
    return list(ordered.values())


def compare(name: str, expected: np.ndarray, got: np.ndarray) -> dict[str, int]:
    """Compare an export with the network itself on the same images.

    Args:
        name: of the format.
        expected: the network's probabilities `(n, 10)`.
        got: the export's probabilities `(n, 10)`.

    Raises:
        RegistryError: they differ by more than rounding explains.

    Returns:
        `differing`: the number of images that they classify differently.
    """
    difference = float(np.abs(expected - got).max()) if len(expected) else 0.0
    differing = int((expected.argmax(axis=1) != got.argmax(axis=1)).sum())
    if not difference <= _ROUNDING:
        raise RegistryError(
            f"models/: {name} and Keras differ in probabilities by up to {difference:.2g} "
            f"(expected at most {_ROUNDING}) and in the class of {differing} of {len(expected):,} "
            "images; the export is wrong, don't ship it"
        )
    return {"differing": differing}


class LiteRT:
    """A LiteRT file, for comparison with the other formats."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with discarded_stderr():  # it notes which delegate it uses
            self._interpreter = Interpreter(str(path))
            self._interpreter.allocate_tensors()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities float32 `(n, 10)` for uint8 `(n, 28, 28)`."""
        (signature,) = self._interpreter.get_signature_list()
        run = self._interpreter.get_signature_runner(signature)
        (name,) = run.get_input_details()
        parts = []
        for start in range(0, len(images), _BATCH):
            outputs = run(**{name: np.asarray(images[start : start + _BATCH])})
            parts.append(outputs[max(outputs)])  # output_0 is the embedding, output_1 this
        return np.concatenate(parts)
