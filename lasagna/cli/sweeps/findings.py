"""Findings of a grid of runs, in words: the clear differences from a baseline, and the claims that hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lasagna.cli.sweeps.intervals import Interval, mean_interval

SeedScores = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Score to variant to seed to value."""


@dataclass(frozen=True)
class Claim:
    """An expected difference of a variant from the baseline.

    Args:
        text: The claim in words.
        variant: The variant.
        score: Name of the score.
        expected: Whether the variant's score should be lower or higher than the baseline's.
    """

    text: str
    variant: str
    score: str
    expected: Literal["lower", "higher"]


@dataclass(frozen=True)
class Difference:
    """The difference of a variant's score from that of the baseline, seed by seed.

    Args:
        score: Name of the score.
        variant: The variant.
        interval: Mean of variant minus baseline, with its t-interval over seeds.
    """

    score: str
    variant: str
    interval: Interval

    @property
    def verdict(self) -> Literal["lower", "higher", "noise", "one seed"]:
        """The side of zero on which the interval lies, or "noise" if it contains zero; a single seed shows nothing."""
        if self.interval.count < 2:
            return "one seed"
        if abs(self.interval.mean) <= self.interval.half_width:
            return "noise"
        return "lower" if self.interval.mean < 0 else "higher"

    @property
    def words(self) -> str:
        """The difference in a few words."""
        if self.verdict == "one seed":
            return f"{self.interval.mean:+.3f} in one seed, which shows nothing"
        mean, half = self.interval.mean, self.interval.half_width
        ends = f"{mean - half:+.3f} to {mean + half:+.3f}"
        verdict = "within the noise" if self.verdict == "noise" else f"clearly {self.verdict}"
        return f"{mean:+.3f} ({ends}): {verdict}"


def differences(values: SeedScores, baseline: str, confidence: float = 0.95) -> list[Difference]:
    """Return the differences of all variants from a baseline, over their common seeds.

    Runs of the same seed share initial weights and the order of records, so they are compared in pairs.

    Args:
        values: The scores.
        baseline: Name of the variant to compare with.
        confidence: Confidence of the intervals, in (0, 1).
    """
    found = []
    for score, by_variant in values.items():
        base = by_variant.get(baseline, {})
        for variant, seeds in by_variant.items():
            pairs = [value - base[seed] for seed, value in seeds.items() if seed in base]
            if variant != baseline and pairs:
                found.append(Difference(score, variant, mean_interval(pairs, confidence)))
    return found


def judge(claim: Claim, found: Sequence[Difference]) -> str:
    """Return a sentence on whether a claim holds in these runs.

    Args:
        claim: The claim.
        found: The differences from the baseline.
    """
    match = next((one for one in found if (one.score, one.variant) == (claim.score, claim.variant)), None)
    if match is None:
        return f"{claim.text}: not measured; no run of {claim.variant!r} has the score {claim.score}"
    if match.verdict == claim.expected:
        state = "holds here"
    elif match.verdict in ("noise", "one seed"):
        state = "not shown here"
    else:
        state = "the opposite is seen here"
    return f"{claim.text}: **{state}** ({claim.variant}, {claim.score}: {match.words})"


def describe(found: Sequence[Difference], claims: Sequence[Claim], baseline: str, confidence: float = 0.95) -> str:
    """Return the findings as Markdown: the claims, then each variant's differences, the clear and large ones first.

    Args:
        found: The differences from the baseline.
        claims: The claims to judge.
        baseline: Name of the baseline.
        confidence: Confidence of the intervals, in (0, 1).
    """
    one_in = round(1 / max(1 - confidence, 1e-6))
    lines = ["## Claims", "", *(f"- {judge(claim, found)}" for claim in claims), ""] if claims else []
    lines += [f"## Differences from {baseline}", ""]
    lines += [
        f"Each is the mean over seeds of the variant's score minus the baseline's of the same seed, with its "
        f"{confidence:.0%} t-interval. Where there is no true difference, about one in {one_in} still looks clear.",
    ]
    for variant in dict.fromkeys(one.variant for one in found):
        mine = [one for one in found if one.variant == variant]
        clear = [one for one in mine if one.verdict in ("lower", "higher")]
        lines += ["", f"### {variant}", "", f"{len(clear)} of {len(mine)} scores differ clearly."]
        lines += ["", *(f"- {one.score}: {one.words}" for one in sorted(mine, key=_clear_first))]
    return "\n".join(lines) + "\n"


def _clear_first(one: Difference) -> tuple[bool, float]:
    size = 0.0 if math.isnan(one.interval.mean) else abs(one.interval.mean)
    return one.verdict in ("noise", "one seed"), -size
