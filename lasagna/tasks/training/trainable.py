"""Which parameters are trained: glob patterns over their names, each with a factor for the learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from lasagna.errors import CheckpointError, ConfigError
from lasagna.tasks.training.mixed_optimizer import matches
from lasagna.tasks.training.optimiser import WAY_OUT


def trainable_sets(parameters: Iterable[tuple[str, nn.Parameter]], patterns: Mapping[str, float]) -> dict[str, float]:
    """Return the trained parameters with their factors of the learning rate.

    Args:
        parameters: All parameters with their names. Those that their part keeps frozen stay frozen.
        patterns: Glob pattern to factor of the learning rate. A pattern matches a name, or everything below it
            ("mask_head" is the entire mask head); if several match, the last one counts. Factor 0 freezes.

    Returns:
        Name to factor for each trained parameter, in the order of ``parameters``.

    Raises:
        ConfigError: If a pattern matches nothing that can be trained, a factor is negative, or nothing would be
            trained.
    """
    can_be_trained = {name: parameter.requires_grad for name, parameter in parameters}
    names = [name for name, trainable in can_be_trained.items() if trainable]
    for pattern, factor in patterns.items():
        if factor < 0:
            raise ConfigError(f"trainable: the factor of {pattern!r} is {factor}; it must be 0 (frozen) or more")
        if not any(matches(pattern, name) for name in (names if factor else can_be_trained)):
            frozen = any(matches(pattern, name) for name in can_be_trained)
            reason = "fits only parameters that their part keeps frozen" if frozen else "fits no parameter"
            raise ConfigError(f"trainable: {pattern!r} {reason}; trainable parameters are in {_overview(names)}")
    factors = dict.fromkeys(names, 0.0)
    for pattern, factor in patterns.items():
        factors |= {name: float(factor) for name in names if matches(pattern, name)}
    trained = {name: factor for name, factor in factors.items() if factor > 0}
    if not trained:
        raise ConfigError(f"trainable: nothing would be trained; name at least one of {_overview(names)}")
    return trained


def check_factors(stored: Mapping[str, float], factors: Mapping[str, float]) -> None:
    """Check that a resumed training has the factors it began with.

    Args:
        stored: Name to factor of the stored training.
        factors: Name to factor of the resumed training; parameters without an entry have 0.

    Raises:
        CheckpointError: If they differ; names the first few parameters.
    """
    names = [*stored, *(name for name in factors if name not in stored)]
    changed = [
        f"{name} with factor {stored.get(name, 0.0)}, here {factors.get(name, 0.0)}"
        for name in names
        if stored.get(name, 0.0) != factors.get(name, 0.0)
    ]
    if changed:
        more = f" and {len(changed) - 2} more" if len(changed) > 2 else ""
        raise CheckpointError(f"trainable: the checkpoint was trained with {'; '.join(changed[:2])}{more}; {WAY_OUT}")


def freeze_others(module: nn.Module, trained: Iterable[str]) -> None:
    """Freeze all parameters of a module except the named ones."""
    chosen = set(trained)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)


def set_modes(module: nn.Module, training: bool) -> None:
    """Put trained modules into training mode and frozen ones into evaluation mode.

    A module without parameters (dropout, a norm without scale) has the mode of its parent, so that the statistics of
    frozen norms do not change and dropout inside trained parts works.

    Args:
        module: Root of the modules.
        training: Mode of the root if it has no parameters.
    """
    parameters = list(module.parameters())
    module.training = any(parameter.requires_grad for parameter in parameters) if parameters else training
    for child in module.children():
        set_modes(child, module.training)


def trained_state(module: nn.Module) -> frozenset[str]:
    """Return the names in the state dict that training changes: trained parameters and buffers of trained modules."""
    state = set(module.state_dict(keep_vars=True))
    parameters = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    set_modes(module, training=True)
    moving = {
        f"{prefix}.{name}" if prefix else name
        for prefix, child in module.named_modules()
        if child.training
        for name, _ in child.named_buffers(recurse=False)
    }
    return frozenset(parameters | (moving & state))


def _overview(names: Iterable[str]) -> str:
    return ", ".join(sorted({".".join(name.split(".")[:2]) for name in names})[:24])
