"""Wordings that the original code of LaSagnA draws from in training, as far as its dialogues show them.

Seen in what it makes of made-up records (github congvvc/LaSagnA, commit 897cbbe). With those of its evaluation they are
3 of 18 complex questions, 20 of about 36 about phrases, 4 of about 45 about sentences, 3 of those that ask for reasons,
and 15 of 17 answers.
"""

from __future__ import annotations

COMPLEX = ("Segment all the objects in this image.", "What are in this image? Please visualize segmentation mask.")
"""What stands before the names."""

REFERRING = (
    "Can you detect and segment the {query} in this image?",
    "Can you find the {query} in the image?",
    "Can you find the {query}?",
    "Can you visualize the {query} in this image?",
    "Detect and segment the {query} in the image.",
    "Detect and segment the {query}.",
    "I need the box and mask specifically for the {query} in the image.",
    "I need the mask specifically for the {query} in image.",
    "I need the segmentation and detection specifically for the {query} in image.",
    "I need the segmentation mask and detection box specifically for the {query} in image.",
    "I need the visualization specifically for the {query} in image.",
    "Please detect and segment the {query} in the image.",
    "Please visualize the {query}.",
    "Visualize the {query}.",
    "What is {query} in this image? Please output detection and segmentation result.",
    "What is {query} in this image? Please output detection box and segmentation mask.",
    "What is {query} in this image? Please respond with detection and segmentation result.",
    "What is {query} in this image? Please visualize detection and segmentation result.",
    "Where is the {query} in the image?",
)
"""Questions about a phrase; where it has an article, that comes twice."""

REASONING = (
    "{query} Find detection box and segmentation mask.",
    "{query} Respond with detection box and segmentation mask in the image?",
    "{query} Visualize detection and segmentation result in this image?",
)
"""What stands behind a question."""

EXPLAINED = (
    "{query} Please find detection box and segmentation mask and explain why.",
    "{query} Find detection and segmentation result and explain why.",
    "{query} Find detection and segmentation result and give the reason.",
)
"""What stands behind a question whose answer is to be explained."""

ANSWERS = (
    "{token}.",
    "It is {token}.",
    "Sure, {token}.",
    "Sure, it is {token}.",
    "The result is {token}.",
    "Sure, the result is {token}.",
    "The detection result is {token}.",
    "Sure, the detection result is {token}.",
    "The segmentation result is {token}.",
    "Sure, the segmentation result is {token}.",
    "Sure, the segmentation is {token}.",
    "The detection and segmentation result is {token}.",
    "Sure, the detection and segmentation result is {token}.",
    "The detection box and segmentation mask is {token}.",
    "Sure, the detection box and segmentation mask is {token}.",
)
"""Answers to referring, reasoning and explained queries; the first is that of its evaluation."""
