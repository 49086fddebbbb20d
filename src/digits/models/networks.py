"""The networks that a recipe can name. `training` trains them.

Every network takes uint8 `(n, 28, 28)` and returns probabilities float32 `(n, 10)`. Its first layer
scales the pixels, so that training, prediction and drift checks cannot scale differently. The last
hidden layer is called "embedding".
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from digits.core.errors import ParameterError
from digits.core.params import Recipe
from digits.models import arithmetic
from digits.models.backend import keras

SIZE = 28
CLASSES = 10
EMBEDDING = "embedding"
_MOBILE_SIZE = 128  # pixels a side
_MOBILE_WIDTH = 0.35  # share of MobileNetV2's channels
_MOMENTUM = (
    0.97  # of moving averages; Keras' 0.99 and MobileNetV2's 0.999 are too slow for so few steps
)


def build(recipe: Recipe, mean: float, std: float) -> "keras.Model":
    """An untrained network.

    Args:
        recipe: `network` is its name, `widths` the channels or units of its layers.
        mean: mean of the training pixels, 0–1.
        std: their standard deviation, 0–1.

    Raises:
        ParameterError: the network is unknown or can't have these widths.
    """
    if recipe.network not in _NETWORKS:
        raise ParameterError(
            f"params.yaml: 'network' is {recipe.network!r}; known: {', '.join(_NETWORKS)}"
        )
    build_layers, least, most = _NETWORKS[recipe.network]
    if not least <= len(recipe.widths) <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        raise ParameterError(
            f"params.yaml: 'widths' of network '{recipe.network}' is {list(recipe.widths)}; "
            f"expected {expected} of them"
        )
    images = keras.Input((SIZE, SIZE), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / (255 * std), offset=-mean / std, name="normalise")(images)
    x = keras.layers.Reshape((SIZE, SIZE, 1), name="channel")(x)
    x = build_layers(x, recipe)
    x = keras.layers.Identity(name=EMBEDDING)(x)
    if recipe.dropout:
        x = keras.layers.Dropout(recipe.dropout)(x)
    probabilities = keras.layers.Dense(
        CLASSES, activation=arithmetic.softmax, name="probabilities"
    )(x)
    return keras.Model(images, probabilities, name=recipe.network)


def parameters(recipe: Recipe, mean: float, std: float) -> int:
    """The number of parameters of all members, also those that are not trained; see `build`."""
    return recipe.members * int(build(recipe, mean, std).count_params())


def joined(members: Sequence["keras.Model"], views: int = 1) -> "keras.Model":
    """Join trained networks into one with two outputs: embedding `(n, k)`, probabilities `(n, 10)`.

    The probabilities are averaged, the embeddings concatenated.

    Args:
        views: 5 to average also over the image shifted by one pixel in each direction; the
            embedding is of the image itself.
    """
    images = keras.Input((SIZE, SIZE), dtype="uint8", name="images")
    read = [
        keras.Model(
            member.input, [member.get_layer(EMBEDDING).output, member.output], name=f"member_{i}"
        )
        for i, member in enumerate(members, 1)
    ]
    heads = [member(images) for member in read]
    embeddings, probabilities = map(list, zip(*heads, strict=True))
    if views > 1:
        probabilities += [member(view)[1] for view in _shifted(images) for member in read]
    outputs = [embeddings[0], probabilities[0]]
    if len(embeddings) > 1:
        outputs[0] = keras.layers.Concatenate(name="embeddings")(embeddings)
    if len(probabilities) > 1:
        outputs[1] = keras.layers.Average(name="mean")(probabilities)
    return keras.Model(images, outputs, name="digits")


def _shifted(images: "keras.KerasTensor") -> "list[keras.KerasTensor]":
    """Images `(n, h, h)` shifted by one pixel down, up, right and left, padded with black."""
    ops = keras.ops

    framed = ops.pad(ops.cast(images, "float32"), ((0, 0), (1, 1), (1, 1)))  # LiteRT pads no bytes
    return [
        ops.cast(framed[:, top : top + SIZE, left : left + SIZE], "uint8")
        for top, left in ((0, 1), (2, 1), (1, 0), (1, 2))
    ]


def load_pretrained(model: "keras.Model", path: Path) -> None:
    """Load pretrained weights into the backbone of a `mobilenet`.

    Raises:
        ParameterError: the file doesn't fit.
    """
    try:
        model.get_layer(_BACKBONE).load_weights(path)
    except (ValueError, OSError) as exc:
        raise ParameterError(
            f"{path}: no weights of MobileNetV2 {_MOBILE_WIDTH} at {_MOBILE_SIZE} pixels "
            "without its last layer"
        ) from exc


def _allconv(
    x: "keras.KerasTensor", recipe: Recipe, kernel: int, strides: Sequence[int]
) -> "keras.KerasTensor":
    """All-convolution (Springenberg et al. 2015): strides instead of pooling, then global max.

    It is invariant to the brightness of the paper and the contrast of the ink: each image is
    normalised to mean 0 and variance 1, and the first kernels sum to 0 and use no padding.

    Args:
        kernel: size of the first kernels in pixels; all others are 3 × 3.
        strides: of the first layers; all others have stride 1, the last two of them no padding.
    """
    first, *others = recipe.widths
    x = arithmetic.ContrastNormalization(name="contrast")(x)
    x = _convolution(x, first, kernel, strides[0], padding="valid", kernel_constraint=_zero_sum())
    for place, width in enumerate(others, 1):
        if place < len(strides):
            x = _convolution(x, width, strides=strides[place])
        else:
            x = _convolution(x, width, padding="valid" if place > len(others) - 2 else "same")
    return keras.layers.GlobalMaxPooling2D()(x)


def _convolution(
    x: "keras.KerasTensor",
    filters: int,
    kernel: int = 3,
    strides: int = 1,
    padding: str = "same",
    **options: Any,
) -> "keras.KerasTensor":
    """Convolution, batch normalisation (Ioffe & Szegedy 2015), rectifier."""
    x = arithmetic.Convolution(
        filters, kernel, strides=strides, padding=padding, use_bias=False, **options
    )(x)
    x = arithmetic.BatchNormalization(momentum=_MOMENTUM)(x)
    return keras.layers.ReLU()(x)


def _zero_sum() -> "keras.constraints.Constraint":
    class ZeroSum(keras.constraints.Constraint):
        """Kernels whose weights sum to 0, so that a uniform background has no effect."""

        def __call__(self, kernel: Any) -> Any:
            return kernel - keras.ops.mean(kernel, axis=(0, 1, 2), keepdims=True)

    return ZeroSum()


def _pooled(x: "keras.KerasTensor", widths: Sequence[int]) -> "keras.KerasTensor":
    """3 × 3 convolutions, each followed by max pooling."""
    for width in widths:
        x = arithmetic.Convolution(width, 3, activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.layers.Flatten()(x)


def _dense(x: "keras.KerasTensor", recipe: Recipe) -> "keras.KerasTensor":
    """Fully connected layers on raw pixels (LeCun et al. 1998 had 300 and 100 units)."""
    x = keras.layers.Flatten()(x)
    for width in recipe.widths:
        x = keras.layers.Dense(width, activation="relu")(x)
    return x


def _cnn(x: "keras.KerasTensor", recipe: Recipe) -> "keras.KerasTensor":
    """Convolutions with pooling, then one fully connected layer, whose width comes last."""
    *convolutions, units = recipe.widths
    return keras.layers.Dense(units, activation="relu")(_pooled(x, convolutions))


def _convnet(x: "keras.KerasTensor", recipe: Recipe) -> "keras.KerasTensor":
    """Convolutions with pooling and nothing else, as in Keras' "Simple MNIST convnet"."""
    return _pooled(x, recipe.widths)


def _mobilenet(x: "keras.KerasTensor", recipe: Recipe) -> "keras.KerasTensor":
    """MobileNetV2 (Sandler et al. 2018), narrow, on enlarged images repeated to three channels."""
    shape = (_MOBILE_SIZE, _MOBILE_SIZE, 3)
    backbone = keras.applications.MobileNetV2(
        shape, alpha=_MOBILE_WIDTH, include_top=False, weights=None, name=_BACKBONE
    )
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    # not the layer Resizing, which makes the layers after it run in training mode on export
    x = keras.ops.image.resize(x, shape[:2])
    x = keras.layers.Concatenate()([x, x, x])
    return keras.layers.GlobalAveragePooling2D()(backbone(x))


_BACKBONE = "mobilenetv2"

Layers = Callable[["keras.KerasTensor", Recipe], "keras.KerasTensor"]
# with the smallest and largest number of widths
_NETWORKS: dict[str, tuple[Layers, int, int]] = {
    "allconv": (partial(_allconv, kernel=5, strides=(2, 2)), 3, 8),
    "allconv_fine": (partial(_allconv, kernel=3, strides=(1, 2, 2)), 3, 8),
    "dense": (_dense, 1, 8),
    "cnn": (_cnn, 2, 4),
    "convnet": (_convnet, 1, 3),
    "mobilenet": (_mobilenet, 0, 0),
}
