"""Members over several devices: four virtual ones, in a process of their own, give what one gives."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
import hyperjax as hj
from hyperjax.training.engine import Engine
from tests.training.made import classes
from tests.training.test_engine import same

devices = jax.devices()
assert len(devices) == 4, devices

def norm(x, scale):
    return {"norm": jnp.sqrt((x * x).sum()) * scale, "x": x}

x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
for layout in ("map", "vmap"):
    spread = hj.population(norm, layout, in_axes=(0, None), width=5, devices=devices)
    out = spread(x, np.float32(2.0))
    assert out["x"].shape == (10, 3) and spread.rounded(5) == 8
    np.testing.assert_allclose(out["norm"], 2 * np.linalg.norm(x, axis=1), rtol=1e-6)
    assert "sdy.manual_computation" in spread.lower(x[:8], np.float32(2.0)).as_text()
keys = jax.random.split(jax.random.key(0), 6)
drawn = hj.population(lambda key: jax.random.normal(key, (2,)), "vmap")(keys)
np.testing.assert_array_equal(drawn, jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys))

task = classes()
recipes = [hj.Recipe(optimizer=o, learning_rate=0.05, epochs=e, dropout=0.1) for o in ("sgd", "adam") for e in (1, 3)]
one = hj.fit_population(task, recipes, seeds=[0, 1, 2], layout="vmap", width=2, devices=devices[:1])
engine = Engine(task, recipes, [0, 1, 2], layout="vmap", width=8)  # two members on each device
assert len(engine.groups[0].trainer.advance.devices) == 4
for a, b in zip(engine.run(), one, strict=True):
    same(a, b)
alone = hj.fit(task, recipes[1], seed=1)
mapped = hj.fit_population(task, recipes, seeds=[0, 1, 2], layout="map", width=4, devices=devices)
same(mapped[4], alone)
lone = Engine(task, [recipes[0]], layout="vmap")  # one member keeps one device busy, not four
assert len(lone.groups[0].trainer.advance.devices) == 1
with jax.default_device(devices[2]):
    assert hj.population(norm, "vmap").devices == (devices[2],)
assert sum(len(leaf.devices()) == 4 for leaf in jax.tree.leaves(engine.groups[0].trainer.data)) == 4
import tempfile
folder = tempfile.mkdtemp()
class StoppedError(Exception): ...
def stop(done, total):
    if done > 8:
        raise StoppedError
try:
    hj.fit_population(task, recipes, seeds=[0, 1, 2], layout="vmap", width=8, checkpoint=folder, progress=stop)
except StoppedError:
    pass
for a, b in zip(hj.resume(folder, task), one, strict=True):
    same(a, b)
on_two = hj.fit_population(task, recipes, seeds=[0, 1, 2], layout="vmap", width=6, devices=devices[:2])
folder = tempfile.mkdtemp()
try:
    hj.fit_population(
        task, recipes, seeds=[0, 1, 2], layout="vmap", width=6, devices=devices[:2], checkpoint=folder, progress=stop
    )
except StoppedError:
    pass
for a, b in zip(hj.resume(folder, task, devices=devices), on_two, strict=True):  # four do not divide six members
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-5)
continued = hj.fork(one[4], 3, [one[4].recipe], seeds=[1, 0])
assert len(continued.runs) == 2 and continued.runs[0].layout == "vmap"
np.testing.assert_allclose(continued.runs[0].losses, one[4].losses, rtol=1e-5)
print("as one device")
"""


@pytest.mark.slow
def test_four_devices_give_what_one_gives():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "as one device" in done.stdout, done.stderr[-3000:]


def test_no_device_is_refused():
    import hyperjax as hj

    with pytest.raises(ValueError, match="devices must hold at least one"):
        hj.population(abs, devices=[])
