"""Shards of records: writing, describing, verifying and reading them, on disk and remote."""
