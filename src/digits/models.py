"""The networks: a name → a builder. How they learn lives in `training`.

Every network takes uint8 `(n, 28, 28)` and gives probabilities float32 `(n, 10)`; scaling is its
first layer, so that training, predicting and drift can't scale differently.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from digits.errors import ParameterError

if TYPE_CHECKING:
    import keras

SIZE = 28
CLASSES = 10


def build(name: str, mean: float, std: float) -> "keras.Model":
    """An untrained network.

    Args:
        name: one of `NAMES`.
        mean: mean of the training pixels, 0–1.
        std: their standard deviation, 0–1.

    Raises:
        ParameterError: there is no network of that name.
    """
    import keras

    if name not in _BUILDERS:
        raise ParameterError(f"params.yaml: 'train.model' is {name!r}; known: {', '.join(NAMES)}")
    images = keras.Input((SIZE, SIZE), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / (255 * std), offset=-mean / std, name="normalise")(images)
    x = keras.layers.Reshape((SIZE, SIZE, 1), name="channel")(x)
    embedding = _BUILDERS[name](x)
    probabilities = keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")(
        embedding
    )
    return keras.Model(images, probabilities, name=name)


def _allconv(x: "keras.KerasTensor") -> "keras.KerasTensor":
    """All-convolution (Springenberg et al. 2015): strides instead of pooling, then global max."""
    import keras

    x = _convolution(x, 32, kernel=5, strides=2)
    x = _convolution(x, 64, strides=2)
    x = _convolution(x, 96, padding="valid")
    x = _convolution(x, 128, padding="valid")
    return keras.layers.GlobalMaxPooling2D(name="embedding")(x)


def _convolution(
    x: "keras.KerasTensor",
    filters: int,
    kernel: int = 3,
    strides: int = 1,
    padding: str = "same",
) -> "keras.KerasTensor":
    """Convolution, batch normalisation (Ioffe & Szegedy 2015), rectifier."""
    import keras

    x = keras.layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.97)(x)
    return keras.layers.ReLU()(x)


_BUILDERS: dict[str, Callable[["keras.KerasTensor"], "keras.KerasTensor"]] = {"allconv": _allconv}
NAMES = tuple(_BUILDERS)
