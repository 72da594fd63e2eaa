"""Under "vmap" those that are left of several blocks go on in one, with the bits that they would have had."""

import pytest

import hyperjax as hj
from hyperjax.training import chunk as chunks
from tests.training.made import classes
from tests.training.test_engine import same

EPOCHS = [4, 1, 1, 4, 2, 1]
RECIPES = [
    hj.Recipe(optimizer="sgd", learning_rate=0.01 * (i + 1), epochs=n, batch_size=16) for i, n in enumerate(EPOCHS)
]


@pytest.fixture
def advanced(monkeypatch):
    """Segments of one epoch, and how many members moved in each block that was advanced."""
    monkeypatch.setattr("hyperjax.training.trainer._cut", lambda total, per_epoch, *_: per_epoch)
    seen, advance = [], chunks.Block.advance

    def counted(block, **given):
        seen.append(block.moving)
        advance(block, **given)

    monkeypatch.setattr(chunks.Block, "advance", counted)
    return seen


def trained(task, recipes, **ways):
    return hj.fit_population(task, recipes, layout="vmap", width=2, **ways)


@pytest.mark.slow
def test_those_left_of_three_blocks_go_on_in_fewer_and_keep_their_bits(advanced):
    task = classes()
    runs = trained(task, RECIPES)
    assert advanced == [2, 2, 2, 2, 1, 2, 2]  # [4 1] [1 4] [2 1], then [4 4] [2], then [4 4] twice
    for run, recipe in zip(runs, RECIPES, strict=True):
        same(run, trained(task, [recipe, recipe])[0])


def test_members_that_stop_early_make_room(advanced):
    stopping = {"patience": 2, "metric": "validation_loss"}
    own = {"optimizer": "sgd", "epochs": 6, "batch_size": 16, "early_stopping": stopping}
    runs = trained(classes(), [hj.Recipe(learning_rate=rate, **own) for rate in (0.0, 0.05, 0.0, 0.05)])
    assert [run.steps_done for run in runs] == [9, 18, 9, 18] and all(run.finished for run in runs)
    assert advanced == [2, 2, 2, 2, 2, 2, 2, 2, 2]  # two blocks for three epochs, one for three


@pytest.mark.slow
def test_a_compacted_population_goes_on_from_its_checkpoint(tmp_path, monkeypatch, advanced):
    task = classes()
    whole = trained(task, RECIPES)
    take, calls = chunks.Chunk.take, []

    def interrupted(chunk, *args):
        calls.append(chunk)
        if len(calls) == 5:  # of two chunks that share a block the second is not told
            raise KeyboardInterrupt
        take(chunk, *args)

    monkeypatch.setattr(chunks.Chunk, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(task, RECIPES, checkpoint=tmp_path)
    assert calls[3] is not calls[4]
    monkeypatch.setattr(chunks.Chunk, "take", take)
    for run, kept in zip(hj.resume(tmp_path, task), whole, strict=True):
        same(run, kept)
