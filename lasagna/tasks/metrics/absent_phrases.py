"""Scores of benchmarks whose phrases may fit nothing, each by its own rule.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.tasks.metrics.base import DialogueMetric, ratio
from lasagna.tasks.metrics.phrase_iou import Overlap, PhraseIoU, grefcoco_iou, phrase_overlaps
from lasagna.tasks.metrics.presence import presence_counts


class FalsePremiseIoU(DialogueMetric):
    """See score and cIoU of phrases with true and false premises; higher is better, in [0, 1].

    Protocol ``sesame`` (Wu et al., See, Say, and Segment, arXiv 2312.08366; ``see-say-segment/sesame``,
    ``eval_sesame.py``): ``see`` is the share of phrases of which it is decided rightly whether they fit something,
    whatever the mask; ``ciou`` is the sum of intersections over all phrases divided by the sum of unions, to which
    masks for false premises add. Its third score, of what is said instead (Say), needs a language model and is left
    out.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "sesame"
    higher_is_better = True
    plot_upper_bound = 1.0
    pixels: Tensor
    decisions: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("pixels", 2)
        self.add_sum("decisions", 4)

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the phrases of one query.

        Raises:
            ValueError: If masks differ in size.
        """
        self.decisions += torch.tensor(presence_counts(dialogue, answer), device=self.decisions.device)
        for pair in phrase_overlaps(dialogue, answer):
            self.pixels += torch.tensor([pair.intersection, pair.union], device=self.pixels.device)

    def compute(self) -> dict[str, Tensor]:
        """Return See and cIoU."""
        right = self.decisions[0] + self.decisions[3]
        return {
            self.key("see"): ratio(right, self.decisions.sum()),
            self.key("ciou"): ratio(self.pixels[0], self.pixels[1]),
        }


class ZeroOneManyIoU(PhraseIoU):
    """Overall and mean IoU of phrases with targets, and accuracy on those without; higher is better, in [0, 1].

    Protocol ``ref-zom`` (Hu et al., Beyond One-to-One, ICCV 2023; ``toggle1995/RIS-DMMI``, ``test.py``): ``ciou``
    (there oIoU) and ``giou`` (there mIoU) are those of the phrases with targets only, and ``image_accuracy`` is the
    share of phrases without a target whose answer has no pixel.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "ref-zom"

    def phrase_iou(self, pair: Overlap) -> float:
        """Return the IoU of one phrase, in [0, 1]."""
        return grefcoco_iou(pair)

    def _count(self, pair: Overlap) -> None:
        intersection, union = (pair.intersection, pair.union) if pair.target else (0, 0)
        super()._count(Overlap(intersection, union, pair.answered, pair.target))

    def compute(self) -> dict[str, Tensor]:
        """Return cIoU, gIoU and accuracy."""
        return super().compute() | {
            self.key("giou"): ratio(self.iou[1], self.phrases[1]),
            self.key("image_accuracy"): ratio(self.right[0], self.phrases[0]),
        }


class RobustIoU(DialogueMetric):
    """IoU and robustness over the true and the wrong phrases about each object; higher is better, in [0, 1].

    Protocol ``r-ris`` (Wu et al., Towards Robust Referring Image Segmentation, arXiv 2209.09554;
    ``jianzongwu/robust-ref-seg``, ``utils/validation.py``). Each object has phrases that fit it and phrases that fit
    nothing (``group`` says which object):

    - ``miou_objects`` (there mIoU): mean over objects of the mean IoU of the phrases that fit.
    - ``ciou`` (there oIoU): sum of intersections divided by the sum of unions over all phrases that fit.
    - ``rejection`` (there r, or mRR): mean over objects of the share of wrong phrases whose answer has no pixel.
    - ``riou``: mean over objects of the summed intersections, divided by the summed unions and the pixels answered to
      wrong phrases.

    Objects without a phrase that fits count only in ``rejection``, those without a wrong one in all others, where the
    script has no number. The script counts pixels answered to wrong phrases in the network's size, here they are those
    of the image.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "r-ris"
    grouped = True
    higher_is_better = True
    plot_upper_bound = 1.0
    pixels: Tensor
    sums: Tensor
    objects: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("pixels", 2)
        self.add_sum("sums", 3, dtype=torch.float64)
        self.add_sum("objects", 2)

    def update(self, dialogue: Dialogue, answer: Answer, *further: tuple[Dialogue, Answer]) -> None:
        """Count the phrases about one object.

        Args:
            dialogue: A phrase and the truth.
            answer: The answer of the assistant.
            further: All other phrases about the object, with the answers.

        Raises:
            ValueError: If masks differ in size.
        """
        overlaps = [pair for one in ((dialogue, answer), *further) for pair in phrase_overlaps(*one)]
        fitting = [pair for pair in overlaps if pair.target]
        wrong = [pair for pair in overlaps if not pair.target]
        if fitting:
            intersection, union = sum(pair.intersection for pair in fitting), sum(pair.union for pair in fitting)
            self.pixels += torch.tensor([intersection, union], device=self.pixels.device)
            self.sums[0] += sum(grefcoco_iou(pair) for pair in fitting) / len(fitting)
            self.sums[1] += intersection / max(1, union + sum(pair.union for pair in wrong))
        if wrong:
            self.sums[2] += sum(not pair.answered for pair in wrong) / len(wrong)
        self.objects += torch.tensor([bool(fitting), bool(wrong)], device=self.objects.device)

    def compute(self) -> dict[str, Tensor]:
        """Return mean IoU, cIoU, rejection and rIoU."""
        return {
            self.key("miou_objects"): ratio(self.sums[0], self.objects[0]),
            self.key("ciou"): ratio(self.pixels[0], self.pixels[1]),
            self.key("riou"): ratio(self.sums[1], self.objects[0]),
            self.key("rejection"): ratio(self.sums[2], self.objects[1]),
        }
