from .datamodules.shards.records import records
from .modules.checkpoints.load import load

__version__: str
__all__ = ["__version__", "load", "records"]
