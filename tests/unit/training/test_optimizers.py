"""Optimizers: Muon's steps against the singular value decomposition, and the learning rate."""

from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY

from digits.core import params
from digits.core.params import Recipe
from digits.models.backend import keras
from digits.training import optimizers
from digits.training.optimizers import WarmupCosine


def recipe(**changes: Any) -> Recipe:
    chosen = params.load(REPOSITORY / "params.yaml").recipe
    constant = {"schedule": "constant", "learning_rate": 1.0, "weight_decay": 0.0, "averaging": 0.0}
    return chosen.model_copy(update={"optimizer": "muon"} | constant | changes)


def first_step(gradient: np.ndarray) -> np.ndarray:
    """What Muon subtracts from a kernel in the first step, at learning rate 1."""
    kernel = keras.Variable(np.zeros_like(gradient), name="kernel")
    optimizer = optimizers.build(recipe(), steps=10)
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
    return -keras.ops.convert_to_numpy(kernel.value)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (1, 1, 8, 32), (3, 3, 2, 32)])
def test_muon_step_has_the_singular_vectors_of_the_gradient_and_values_near_1(
    shape: tuple[int, int, int, int],
) -> None:
    gradient = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    matrix = gradient.reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    scale = max(1, len(matrix) / shape[-1]) ** 0.5

    rotated = left.T @ first_step(gradient).reshape(matrix.shape) @ right.T / scale

    values = np.diag(rotated)
    assert values.min() > 0.6  # Newton–Schulz with Muon's coefficients ends near 1, not at 1
    assert values.max() < 1.3
    np.testing.assert_allclose(rotated, np.diag(values), atol=0.01)


def test_muon_step_does_not_depend_on_the_size_of_the_gradient() -> None:
    gradient = np.random.default_rng(1).normal(size=(3, 3, 8, 16)).astype(np.float32)
    np.testing.assert_allclose(first_step(gradient), first_step(100 * gradient), atol=1e-4)


def test_first_kernel_and_vectors_are_left_to_adam() -> None:
    for shape in ((3, 3, 1, 16), (16,)):
        gradient = np.random.default_rng(2).normal(size=shape).astype(np.float32)
        # Adam's first step has the same length for every weight: the learning rate, here a fifth
        np.testing.assert_allclose(first_step(gradient), 0.2 * np.sign(gradient), atol=1e-3)


def test_learning_rate_rises_from_a_25th_to_the_peak_and_falls_to_0() -> None:
    schedule = WarmupCosine(0.5, 20, 80)
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[10] == pytest.approx(0.5 * 13 / 25)  # linear
    assert rates[20] == pytest.approx(0.5)
    assert rates[60] == pytest.approx(0.25)  # half a cosine
    assert rates[100] == pytest.approx(0, abs=1e-7)
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)


def test_learning_rate_stays_0_after_the_last_step() -> None:
    assert float(WarmupCosine(0.5, 20, 80)(150)) == pytest.approx(0, abs=1e-7)


def test_without_warmup_the_first_step_has_the_peak() -> None:
    assert float(WarmupCosine(0.5, 0, 100)(0)) == pytest.approx(0.5)


def test_recipe_sets_the_length_of_warmup_and_decay() -> None:
    chosen = recipe(schedule="cosine", learning_rate=0.1, warmup=0.25, epochs=4)
    optimizer = optimizers.build(chosen, steps=10)
    for step, rate in ((0, 0.004), (10, 0.1), (25, 0.05), (40, 0)):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, abs=1e-7)
