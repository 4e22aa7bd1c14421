"""Adapters between the assistant's answers and other tools, each of them thin."""
