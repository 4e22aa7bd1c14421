"""Language-guided segmentation: answers to complex queries about an image, in words and masks."""

__version__ = "0.1.0"
