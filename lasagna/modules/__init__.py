"""The parts: vision encoders, language models, mask heads, and the assistant that joins them."""
