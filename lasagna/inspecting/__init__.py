"""What is in shards, and what is wrong with them: `lasagna inspect`."""
