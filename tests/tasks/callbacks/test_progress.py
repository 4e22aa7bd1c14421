"""The table of parts before training."""

from rich.console import Console

from lasagna.tasks.callbacks.progress import parts_table
from tests.helpers.parts import sam_assistant


def test_the_table_of_parts_names_the_maps_of_the_encoder():
    assistant = sam_assistant()
    assistant.mask_head.freeze()
    console = Console(width=120, record=True)
    console.print(parts_table(assistant))
    rows = [line.strip("│ ").replace("│", " ").split() for line in console.export_text().splitlines() if "│" in line]
    encoder, words, head = rows[:3]
    assert " ".join(encoder[1:9]) == "SamVisionEncoder 32 x 8 x 8, stride 8"
    assert (words[0], words[1]) == ("language_model", "TinyLanguageModel")
    assert (head[1], head[-1]) == ("SamMaskHead", "0")
