"""Members that are held, released, joined and copied become what they would have become alone, bit for bit."""

import jax
import numpy as np
import pytest

import hyperjax as hj
from hyperjax.training.chunk import Block
from hyperjax.training.cohort import Cohort, Copy
from hyperjax.training.engine import Engine
from tests.training.made import classes
from tests.training.test_engine import same, weights

SIZES = [(4, 16), (4, 16), (2.5, 16), (4, 23), (3, 23), (4, 16)]
RECIPES = [
    hj.Recipe(optimizer="adam", learning_rate=0.01 * (i + 1), schedule="cosine_decay", epochs=n, batch_size=b)
    for i, (n, b) in enumerate(SIZES)
]


@pytest.fixture(scope="module")
def task():
    return classes()


@pytest.fixture(scope="module")
def whole(task):
    return hj.fit_population(task, RECIPES, seeds=[0, 1])


def cohort_of(task, recipes=RECIPES, seeds=(0, 1), **ways):
    return Cohort(Engine(task, recipes, seeds, segment_epochs=1, **({"width": 2} | ways)))  # one width, one program


def test_who_is_held_and_released_equals_who_never_was(task, whole):
    cohort = cohort_of(task)
    cohort.advance(1)
    cohort.hold([0, 3, 7])  # of both batch sizes
    cohort.advance(2)
    assert [cohort.epoch(member) for member in (0, 1, 7, 6)] == [1, 2, 1, 2]
    seen = cohort.scores(range(12))
    for row, run in zip(seen, whole, strict=True):
        kept = row[np.isfinite(row)]
        np.testing.assert_array_equal(kept, run.metrics["validation_accuracy"][: len(kept)])
    assert np.isnan(seen[[0, 3, 7], 1]).all() and np.isfinite(seen[[1, 2, 6, 8], 1]).all()
    cohort.hold([4])
    cohort.release([3])
    cohort.advance()
    halted = [member for member, run in enumerate(cohort.runs) if not run.finished]
    assert halted == [0, 4, 7] and cohort.moving(range(12)) == halted and cohort.run(4).steps_done == 6
    cohort.release([0, 4, 7])
    cohort.advance()
    for run, alone in zip(cohort.runs, whole, strict=True):
        same(run, alone)
        assert run.finished


def test_members_that_join_later_change_nobody(task, whole):
    cohort = cohort_of(task, RECIPES[:4], also=RECIPES)
    cohort.advance(2)
    cohort.hold([1, 2, 6])
    assert list(cohort.add(Engine(task, RECIPES[4:], [0, 1], also=RECIPES, segment_epochs=1, width=2))) == [
        8,
        9,
        10,
        11,
    ]
    cohort.advance(1)
    cohort.release([1, 2, 6])
    cohort.advance()
    for run, alone in zip(cohort.runs, whole, strict=True):
        same(run, alone)


def test_a_copy_goes_on_where_its_source_is(task, whole):
    cohort = cohort_of(task)
    cohort.advance(2)
    swapped = [Copy(0, 2, RECIPES[0]), Copy(2, 0, RECIPES[1]), Copy(7, 9, RECIPES[4])]
    before = {member: cohort.run(member) for member in (0, 2, 7)}
    cohort.copy(swapped)
    for source, target, recipe in swapped:
        assert cohort.run(target).recipe == recipe and cohort.run(target).seed == target % 2
        same_so_far(cohort.run(target), before[source])
    cohort.advance()
    same(cohort.run(2), whole[0])  # of the source's seed and recipe, so it does what the source would have done
    same(cohort.run(0), whole[2])
    same(cohort.run(4), whole[4])
    with pytest.raises(ValueError, match="source must share a program with its target"):
        cohort.copy([Copy(0, 6, RECIPES[3])])
    with pytest.raises(ValueError, match="recipe must be one that the members' program has room for"):
        cohort.copy([Copy(0, 2, RECIPES[0].replace(optimizer="rmsprop", clip_norm=1.0))])


def same_so_far(run, other):
    np.testing.assert_array_equal(run.losses, other.losses)
    for ours, theirs in zip(jax.tree.leaves(weights(run)), jax.tree.leaves(weights(other)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_dropped_keeps_its_curves_and_gives_its_memory_back(task, whole):
    cohort = cohort_of(task)
    cohort.advance(1)
    elements = sum(leaf.size for leaf in jax.tree.leaves(weights(cohort.run(1))))
    assert 3 * 4 * elements <= cohort.bytes(1) <= 3 * 4 * elements + 64  # weights, two moments, some counters
    cohort.drop([1, 6])
    assert cohort.bytes(1) == 0 and cohort.moving([1, 6, 7]) == [7]
    cohort.advance()
    for member in set(range(12)) - {1, 6}:
        same(cohort.run(member), whole[member])
    np.testing.assert_array_equal(cohort.run(6).losses, whole[6].losses[:2])
    assert (
        cohort.scores([6, 7]).shape == (2, 4) and cohort.scores([6])[0, 0] == whole[6].metrics["validation_accuracy"][0]
    )
    with pytest.raises(ValueError, match="model must be of a run whose state was kept"):
        _ = cohort.run(1).model
    with pytest.raises(ValueError, match=r"members must be of the cohort's 12 that have a state, got \[1, 40\]"):
        cohort.hold([0, 1, 40])


def test_a_job_of_several_processes_is_refused(task, monkeypatch):
    engine = Engine(task, RECIPES, segment_epochs=1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="a cohort must be trained by one process, got a job of 2"):
        Cohort(engine)


@pytest.mark.slow
def test_side_by_side_in_blocks_of_one_width(task):
    ways = {"layout": "vmap", "width": 2}
    whole, cohort = hj.fit_population(task, RECIPES, seeds=[0, 1], **ways), cohort_of(task, **ways)
    for epoch, held in [(1, [0, 1, 2, 7]), (2, [4, 7, 8]), (3, [1])]:
        cohort.advance(epoch)
        cohort.release(range(12))
        cohort.hold(held)
    cohort.release([1])
    cohort.advance()
    for run, alone in zip(cohort.runs, whole, strict=True):
        same(run, alone)


@pytest.mark.parametrize("change", [{}, pytest.param({"batch_ramp": {"epochs": [1, 3]}}, marks=pytest.mark.slow)])
def test_whoever_began_at_another_epoch_shares_a_block(task, monkeypatch, change):
    recipes = [recipe.replace(batch_size=10, epochs=4, **change) for recipe in RECIPES[:3]]
    ways = {"layout": "vmap", "width": 6}
    whole, blocks, advance = hj.fit_population(task, recipes, seeds=[0, 1], **ways), [], Block.advance

    def counted(block, fed, keep=True):
        blocks.append(sum(len(rows) for _, rows in block.parts))
        advance(block, fed, keep)

    monkeypatch.setattr(Block, "advance", counted)
    cohort = cohort_of(task, recipes[:1], also=recipes, **ways)
    cohort.advance(1)
    cohort.add(Engine(task, recipes[1:2], [0, 1], also=recipes, segment_epochs=1, **ways))
    cohort.advance({0: 2, 1: 2, 2: 1, 3: 1})
    cohort.hold([0])
    cohort.add(Engine(task, recipes[2:], [0, 1], also=recipes, segment_epochs=1, **ways))
    cohort.advance({0: 3, 1: 3, 2: 2, 3: 2, 4: 1, 5: 1})
    assert [cohort.epoch(member) for member in range(6)] == [2, 3, 2, 2, 1, 1]
    if not change:
        assert blocks == [2, 4, 5]
    assert {len(chunk.members) for chunk in cohort.chunks([2, 5])} == {1}  # from now on apart from those beside them
    cohort.release([0])
    cohort.advance()  # in blocks whose members come to another batch size one after another
    for run, alone in zip(cohort.runs, whole, strict=True):
        same(run, alone)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"batch_size": "full"}, {"batch_ramp": {"epochs": [1, 3]}, "batch_size": 10}])
def test_batches_that_are_the_whole_set_or_grow(task, change):
    recipes = [recipe.replace(**change) for recipe in RECIPES[:3]]
    cohort = cohort_of(task, recipes)
    for epoch, held in [(1, [0, 4]), (2, [1, 0]), (3, [2])]:
        cohort.advance(epoch)
        cohort.release(range(6))
        cohort.hold(held)
    cohort.release([2])
    cohort.advance()
    for run, alone in zip(cohort.runs, hj.fit_population(task, recipes, seeds=[0, 1]), strict=True):
        same(run, alone)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["map", "vmap"])
def test_streamed_data_is_read_by_who_is_furthest_behind(layout):
    from tests.training.test_streaming import MemoryMap, streamed

    on_device = classes()
    task = streamed(on_device, MemoryMap(on_device.data["train"]))
    ways = {"layout": layout, "width": 2}
    cohort = cohort_of(task, RECIPES[:3], seeds=[0], **ways)  # a stream's order is that of seed 0
    cohort.advance(1)
    cohort.hold([0, 2])
    cohort.advance(2)
    cohort.release([0, 2])
    cohort.advance()
    for run, alone in zip(cohort.runs, hj.fit_population(on_device, RECIPES[:3], **ways), strict=True):
        same(run, alone)
