"""The list of guards fits the code, so that it need not be run to see that it does not."""

import pytest

from tests.guards import GUARDS, REPOSITORY, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_where_it_is_said_to(guard: Guard) -> None:
    assert (REPOSITORY / guard.file).read_text().count(guard.text) == 1
    path, _, case = guard.test.partition("::")
    assert f"def {case.split('::')[-1].partition('[')[0]}(" in (REPOSITORY / path).read_text()
