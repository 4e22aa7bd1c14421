"""Streams of batches: from records through tasks and strategies to collated samples."""
