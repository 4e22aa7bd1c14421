"""Quantities of the package are known to reports, which do not import its metrics."""

from lasagna.tasks import metrics
from lasagna.tasks.metrics import QUANTITIES, DialogueMetric


def test_quantities_of_the_package_are_known_before_its_metrics_are_imported():
    for name in metrics.__all__:
        kind = getattr(metrics, name)
        if isinstance(kind, type) and issubclass(kind, DialogueMetric):
            assert not kind.quantities, f"{name}: list its quantities in names.py"
    assert {"cgf1", "pmf1", "pq", "sq", "rq"} <= QUANTITIES.keys()
