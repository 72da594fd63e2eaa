"""What is compiled here also lowers for machines that are not here."""

import jax
import numpy as np
import pytest

import hyperjax as hj
from hyperjax import random
from hyperjax.batching import permute
from hyperjax.training.engine import Engine
from tests.training.made import classes


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("layout", ["map", "vmap"])
def test_a_population_of_every_rule_lowers(platform, layout):
    recipes = [
        hj.Recipe(optimizer=o, schedule=s, activation=a, dropout=0.1, epochs=2, batch_size=10, warmup=2, clip_norm=1.0)
        for o, s, a in zip(
            hj.optimizers.names(), 3 * list(hj.schedules.SHAPES), 3 * list(hj.activations.TABLE), strict=False
        )
    ]
    trainer = Engine(classes(), recipes, layout=layout).groups[0].trainer
    settings, roots = trainer.shapes(4)
    assert "module" in trainer.init.lower(settings, roots, platforms=(platform,)).as_text()
    carry = jax.eval_shape(trainer.init.mapped, settings, roots)
    text = trainer.advance.lower(carry, settings, roots, trainer.data, np.int32(0), platforms=(platform,)).as_text()
    assert "stablehlo.while" in text


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_keys_and_permutations_lower(platform):
    def draw(seed, position):
        key = random.key(seed)
        return jax.random.bernoulli(key, 0.5, (4, 4)), jax.random.normal(key, (3,)), permute(key, position, 1437)

    traced = jax.jit(draw).trace(np.uint32(1), np.arange(8, dtype=np.int32))
    assert "module" in traced.lower(lowering_platforms=(platform,)).as_text()
