"""What several converters share."""
