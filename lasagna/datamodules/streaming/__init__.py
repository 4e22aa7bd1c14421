"""Streams of batches: records become dialogues, samples and batches, in a random order that can be resumed exactly."""
