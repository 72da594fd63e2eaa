"""Nothing in optax's test suite is passed over in silence: each test runs over ours, or the reason why not is listed."""

import pytest

from tests.optax_own import cases
from tests.optax_own.listed import MODULES_LEFT_OUT, OPTIMIZERS, SCHEDULES, TESTS_LEFT_OUT, require_version


def test_every_module_is_listed():
    require_version()
    modules = [*OPTIMIZERS, *SCHEDULES, *MODULES_LEFT_OUT]
    assert len(modules) == len(set(modules))
    assert set(modules) == cases.test_modules()


@pytest.mark.parametrize("module", [*OPTIMIZERS, *SCHEDULES])
def test_every_test_runs_or_is_listed(module):
    require_version()
    runs, rest = set((OPTIMIZERS | SCHEDULES)[module]), set(TESTS_LEFT_OUT.get(module, {}))
    found = {case.test for case in cases.cases_of(module)}
    suites = {name for name in rest if "." not in name}
    assert runs | (rest - suites) == {test for test in found if test.partition(".")[0] not in suites}
    assert not runs & rest
    assert suites <= {test.partition(".")[0] for test in found}
