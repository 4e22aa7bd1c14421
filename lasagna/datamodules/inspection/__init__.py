"""What shards hold: counts and findings."""
