"""Language-guided segmentation: answers to complex queries about an image, in words and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lasagna.modules.checkpoints.load import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import ``load`` when it is asked for, so that importing the package stays cheap."""
    if name == "load":
        from lasagna.modules.checkpoints.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
