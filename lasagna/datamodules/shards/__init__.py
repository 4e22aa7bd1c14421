"""Shards of records: written, listed, verified and read, on disk and from afar."""
