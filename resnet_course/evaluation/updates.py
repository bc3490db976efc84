"""Whether a new network may take the place of one that is in use."""

from __future__ import annotations

from resnet_course.evaluation.metrics import churn, mcnemar
from resnet_course.evaluation.predictions import Predictions


def reasons_to_refuse(used: Predictions, new: Predictions, most_churn: float) -> list[str]:
    """Why a network should not replace the one in use, in words; empty: nothing speaks against it.

    It is refused if it is worse beyond chance (McNemar's exact test, at 5%), and if it changes more than a
    share of all answers: whoever relies on the old ones meets every change. A network that is not refused
    need not be better.

    used, new: what the two say of the same images. most_churn: the share of the
    answers that may change, 0 to 1; what another seed of the same recipe changes is a measure for it.
    Raises ArgumentError if the labels of the two differ.
    """
    reasons, found, changed = [], mcnemar(used, new), churn(used, new)
    low, high = found.interval
    if found.difference < 0 and found.p_value < 0.05:
        reasons.append(
            f"it is worse beyond chance: {100 * found.difference:+.1f} points "
            f"(95% interval {100 * low:+.1f} to {100 * high:+.1f}, p = {found.p_value:.3f})"
        )
    if changed > most_churn:
        reasons.append(f"it changes {changed:.1%} of the answers, and {most_churn:.1%} is the most allowed")
    return reasons
