"""One run that several devices train together: virtual ones, in a process of their own."""

import os
import subprocess
import sys

import jax
import pytest

import hyperjax as hj
from tests.training.made import classes
from tests.training.test_engine import same


def in_a_process_of_four(*checks):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    calls = "; ".join(f"together.{check}()" for check in checks)
    program = f"from tests.training import together; {calls}; print('as one device')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "as one device" in done.stdout, done.stderr[-3000:]


@pytest.mark.slow
def test_four_devices_train_as_one_does_and_share_the_work():
    in_a_process_of_four("a_run", "masks_and_blocks", "streamed")


@pytest.mark.slow
def test_recipes_of_every_kind_are_trained_as_by_one_device():
    in_a_process_of_four("side_by_side", "everything")


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_other_devices():
    in_a_process_of_four("going_on")


@pytest.mark.slow
def test_one_device_by_name_is_the_one_by_default():
    task, recipe = classes(), hj.Recipe(epochs=2, dropout=0.1)
    same(hj.fit(task, recipe, devices=jax.devices()[:1]), hj.fit(task, recipe))


@pytest.mark.parametrize("wrong", [[], jax.devices()[:1] * 2, jax.devices()[0], [0], "cpu", 2], ids=str)
def test_devices_are_different_ones_and_at_least_one(wrong):
    for train in (hj.fit, lambda task, devices: hj.fit_population(task, [hj.Recipe()], devices=devices)):
        with pytest.raises(ValueError, match=r"devices must hold at least one of jax\.local"):
            train(classes(), devices=wrong)
    with pytest.raises(ValueError, match=r"devices must hold at least one of jax\.local"):
        hj.population(abs, devices=wrong)
