"""Each fault of a data set is stopped, named and counted.

The faults are those of `make faults`, which also injects each of them into the test images.
"""

import numpy as np
import pytest
from conftest import REPOSITORY
from faults import datasets
from faults.datasets import Data, Fault

from digits.core import params

TRAIN, TEST = 1000, 400
PARAMS = params.load(REPOSITORY / "params.yaml").validate_.model_copy(
    update={
        "train_count": TRAIN,
        "test_count": TEST,
        "max_near_copy_share": 0.03,
        "chance": 1e-3,
    }
)


@pytest.fixture(scope="module")
def clean(real_digits: tuple[np.ndarray, np.ndarray]) -> Data:
    images, labels = real_digits
    parts = [slice(0, TRAIN), slice(TRAIN, TRAIN + TEST), slice(TRAIN + TEST, None)]
    return Data(*((images[part], labels[part]) for part in parts))


def test_clean_data_breaks_nothing(clean: Data) -> None:
    assert datasets.check(clean, PARAMS) == []


FAULTS = [one for one in datasets.faults(permuted=0.1) if not one.name.endswith(", test")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named_and_counted(clean: Data, fault: Fault) -> None:
    found = datasets.judge(fault, clean, PARAMS, np.random.default_rng(1))
    assert found.named, found.lines
    assert found.counted, found.lines
