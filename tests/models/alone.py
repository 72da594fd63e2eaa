"""What every bundled model promises of the engine: a member of a mixed population is its lone run."""

import jax
import numpy as np
from flax import nnx

import hyperjax as hj


def a_member_equals_its_lone_run(task, recipes):
    """Train the recipes in one program and the last one alone; return the runs of the population."""
    together = hj.fit_population(task, recipes)
    assert together.conditions["programs"] == 1
    run, alone = together[len(recipes) - 1], hj.fit(task, recipes[-1])
    np.testing.assert_array_equal(run.losses, alone.losses)
    leaves = [jax.tree.leaves(nnx.state(r.model, nnx.Param)) for r in (run, alone)]
    assert all((mine == theirs).all() for mine, theirs in zip(*leaves, strict=True))
    assert not np.array_equal(together[0].losses, run.losses)
    return together
