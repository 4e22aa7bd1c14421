"""What converters share: their contract, conversion to shards, and readers of common file formats."""
