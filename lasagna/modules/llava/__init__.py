"""LLaVA v1, the language model that LaSagnA builds on: a Llama with a CLIP tower of its own (arXiv 2304.08485)."""
