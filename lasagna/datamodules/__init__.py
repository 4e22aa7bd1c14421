"""Data: records from shards, the training strategies, and batches."""
