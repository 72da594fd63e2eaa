"""Whatever takes a task or a recipe says so when it is given something else."""

import pytest

import hyperjax as hj
from hyperjax import diagnostics, ensembles, studies, training

SPACE = hj.space(learning_rate=hj.log_uniform(1e-3, 1e-1), epochs=1)
CALLS = {
    "fit": lambda task: hj.fit(task),
    "fit_population": lambda task: hj.fit_population(task, [hj.Recipe()]),
    "study": lambda task: hj.study(task, SPACE, trials=2),
    "population_based": lambda task: studies.population_based(task, SPACE, 2),
    "hypergradient": lambda task: hj.hypergradient(task),
    "descend": lambda task: training.descend(task, steps=1),
    "advise": lambda task: hj.advise(task),
    "lr_range_test": lambda task: diagnostics.lr_range_test(task),
    "noise_scale": lambda task: diagnostics.noise_scale(task, hj.Recipe()),
    "batch_cost": lambda task: diagnostics.batch_cost(task, hj.Recipe(), [16]),
    "sharpness": lambda task: diagnostics.sharpness(task, hj.Recipe()),
    "signal": lambda task: diagnostics.signal(task, hj.Recipe()),
    "transfer": lambda task: diagnostics.transfer(task),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("given", [None, hj.tasks.digits, "digits"], ids=["None", "function", "name"])
def test_what_is_no_task_is_refused(name, given):
    with pytest.raises(ValueError, match=r"task must be a hyperjax\.Task, such as hyperjax\.tasks\.digits\(\), got "):
        CALLS[name](given)


WITH_RECIPE = {
    "fit": lambda recipe: hj.fit(hj.tasks.digits(), recipe),
    "fit, watched": lambda recipe: hj.fit(hj.tasks.digits(), recipe, on_segment=print),
    "study": lambda recipe: hj.study(hj.tasks.digits(), SPACE, trials=2, recipe=recipe),
    "plan": lambda recipe: studies.plan(SPACE, hj.tasks.digits(), recipe),
    "population_based": lambda recipe: studies.population_based(hj.tasks.digits(), SPACE, 2, recipe=recipe),
    "hypergradient": lambda recipe: hj.hypergradient(hj.tasks.digits(), recipe),
    "descend": lambda recipe: training.descend(hj.tasks.digits(), recipe, steps=1),
    "bagging": lambda recipe: ensembles.bagging(hj.tasks.digits(), recipe, members=2),
    "boosting": lambda recipe: ensembles.boosting(hj.tasks.digits(), recipe, members=2),
    "lr_range_test": lambda recipe: diagnostics.lr_range_test(hj.tasks.digits(), recipe),
    "transfer": lambda recipe: diagnostics.transfer(hj.tasks.digits(), recipe),
}


@pytest.mark.parametrize("name", WITH_RECIPE)
@pytest.mark.parametrize("given", ["sgd", {"learning_rate": 0.1}, 0.1], ids=["name", "dict", "number"])
def test_what_is_no_recipe_is_refused(name, given):
    with pytest.raises(ValueError, match="recipe must be a Recipe or None, got "):
        WITH_RECIPE[name](given)
