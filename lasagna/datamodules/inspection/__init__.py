"""What shards hold: counts, examples and faults."""
