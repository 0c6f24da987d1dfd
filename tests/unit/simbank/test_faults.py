import pytest

from simbank.faults import Fault, FaultPlan, FaultRefused


def test_faults_are_taken_in_order_and_as_often_as_asked() -> None:
    plan = FaultPlan()
    plan.add(Fault("payments", "hang", 0.0, ""), 2)
    plan.add(Fault("payments", "reject", 0.0, "no"), 1)
    taken = [plan.take("payments") for _ in range(4)]
    assert [fault.kind if fault else None for fault in taken] == ["hang", "hang", "reject", None]


def test_a_fault_of_one_operation_leaves_the_others_alone() -> None:
    plan = FaultPlan()
    plan.add(Fault("entries", "hang", 0.0, ""), 1)
    assert plan.take("balance") is None
    assert plan.remaining()["entries"] == 1


def test_clearing_forgets_every_fault() -> None:
    plan = FaultPlan()
    plan.add(Fault("entries", "hang", 0.0, ""), 9)
    plan.clear()
    assert plan.take("entries") is None


@pytest.mark.parametrize(("operation", "kind"), [("loans", "hang"), ("balance", "drop")])
def test_a_fault_that_cannot_be_played_is_refused(operation: str, kind: str) -> None:
    with pytest.raises(FaultRefused, match="is one of"):
        FaultPlan().add(Fault(operation, kind, 0.0, ""), 1)
