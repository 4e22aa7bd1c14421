"""Training of mask heads that draw several masks for each prompt."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lasagna.modules.object_loss import ObjectLoss
from lasagna.tasks.training.module import AssistantTraining


class InstanceTraining(AssistantTraining):
    """The default training, with the losses of objects (``ObjectLoss``) besides the ordinary ones.

    Args:
        object_bce: Weight of the binary cross entropy of the masks that are assigned to objects.
        object_dice: Weight of their Dice loss.
        object_score: Weight of the cross entropy of the scores.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        object_bce: float = 5.0,
        object_dice: float = 2.0,
        object_score: float = 1.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self.loss = ObjectLoss(
            **asdict(self.loss), object_bce=object_bce, object_dice=object_dice, object_score=object_score
        )
