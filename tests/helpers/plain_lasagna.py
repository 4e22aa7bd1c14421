"""LaSagnA computed plainly, row by row and mask by mask, without a cache: transformers' Llama, CLIP and SAM, and peft.

Nothing of the package is in it, so that the package can be compared with it; it reads the released layout itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from sentencepiece import SentencePieceProcessor
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate
from transformers import CLIPVisionModel, LlamaConfig, LlamaForCausalLM, SamConfig, SamModel

IMAGE = -200
"""Place of the image in a row of ids."""
IGNORED = -100
CLIP = (
    np.array([0.48145466, 0.4578275, 0.40821073], np.float32),
    np.array([0.26862954, 0.26130258, 0.27577711], np.float32),
)
SAM = (np.array([123.675, 116.28, 103.53], np.float32), np.array([58.395, 57.12, 57.375], np.float32))
SAM_NAMES = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.blocks\.", ".layers."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"neck\.0\.", "neck.conv1."),
    (r"neck\.1\.", "neck.layer_norm1."),
    (r"neck\.2\.", "neck.conv2."),
    (r"neck\.3\.", "neck.layer_norm2."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"point_embeddings\.", "point_embed."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"(mlps\.\d|prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d|prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"(mlps\.\d|prediction_head)\.layers\.1\.", r"\1.layers.0."),
)
"""SAM's own names to transformers', for heads of three layers."""


@dataclass
class PlainRow:
    """A talk about an image: its ids, which of them are supervised, and the masks at the present tokens."""

    image: np.ndarray
    ids: list[int]
    labels: list[int]
    masks: list[np.ndarray]


class PlainLasagna(nn.Module):
    """A release, or with adapters a training state of one.

    Args:
        folder: The release, or the model that training began from.
        clip: Folder of the tower.
        sam: Sizes of SAM, in transformers' words, and the side of its input.
        state: Tensors of a training state by their own names; None for those of the folder.
        lora: Rank, alpha and target layers of the state's adapters.
    """

    def __init__(self, folder, clip, sam, state=None, lora=None):
        super().__init__()
        settings = json.loads((folder / "config.json").read_text())
        state = torch.load(folder / "pytorch_model.bin", weights_only=True) if state is None else state
        state = {name.removeprefix("base_model.model."): value for name, value in state.items()}
        self.pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        self.added = json.loads((folder / "added_tokens.json").read_text())
        self.llama = plain_llama(settings, state, lora)
        self.clip = CLIPVisionModel.from_pretrained(clip)
        self.projector = filled(
            nn.Linear(self.clip.config.hidden_size, settings["hidden_size"]), state, "mm_projector."
        )
        self.sam = plain_sam(sam, state)
        hidden, prompt = settings["hidden_size"], sam["prompt_encoder_config"]["hidden_size"]
        fcs = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, prompt))
        self.fcs = filled(fcs, state, "text_hidden_fcs.0.")
        self.side = sam["vision_config"]["image_size"]

    def named_trained(self):
        """Return what the original trains, by a release's names."""
        llama = {name.removeprefix("base_model.model."): value for name, value in self.llama.named_parameters()}
        kept = {name: value for name, value in llama.items() if re.search("embed_tokens|lm_head|lora_", name)}
        kept |= {f"model.text_hidden_fcs.0.{name}": value for name, value in self.fcs.named_parameters()}
        return kept | {
            name: self.sam.get_parameter(sam_name(name.removeprefix("model.visual_model.")))
            for name in self.sam_names
            if "mask_decoder" in name
        }

    @property
    def sam_names(self):
        return self.sam.original_names

    def ids(self, text):
        """Tokens as the old slow tokeniser makes them: added ones swallow the white space around them."""
        core = {"<unk>": 0, "<s>": 1, "</s>": 2}
        known = sorted([*core, *self.added], key=len, reverse=True)
        parts = re.split("(" + "|".join(map(re.escape, known)) + ")", text)
        ids = []
        for place, part in enumerate(parts):
            if part in core or part in self.added:
                ids.append(core[part] if part in core else self.added[part])
                continue
            part = part.lstrip() if place and parts[place - 1] in self.added else part
            part = part.rstrip() if place + 1 < len(parts) and parts[place + 1] in self.added else part
            ids += self.pieces.encode(part) if part else []
        return ids

    def prompt_ids(self, text):
        """Tokens of a talk's beginning, with its image."""
        before, after = text.replace("<image>", "<im_start><image><im_end>").split("<image>")
        return [1, *self.ids(before), IMAGE, *self.ids(after)]

    def row(self, image, rounds, masks):
        """A talk of prompts, up to "ASSISTANT:", and answers."""
        ids, labels = [], []
        for prompt, answer in rounds:
            read = self.prompt_ids if not ids else self.ids
            asked, whole = read(prompt), read(f"{prompt} {answer}</s>")
            assert whole[: len(asked)] == asked
            ids, labels = ids + whole, labels + [IGNORED] * len(asked) + whole[len(asked) :]
        return PlainRow(image, ids, labels, masks)

    def hidden(self, ids, image):
        """Hidden states after the final norm, ``[t, d]``, with the image's vectors in its place."""
        words = self.llama.get_input_embeddings()
        place = ids.index(IMAGE)
        states = self.clip(self._like(self.clip_pixels(image)), output_hidden_states=True).hidden_states[-2][0, 1:]
        parts = [words(torch.tensor(ids[:place])), self.projector(states), words(torch.tensor(ids[place + 1 :]))]
        model = self.llama.get_base_model() if hasattr(self.llama, "get_base_model") else self.llama
        return model.model(inputs_embeds=torch.cat(parts)[None], use_cache=False).last_hidden_state[0]

    def spliced(self, row):
        """Widen the image's place in a row of ids or labels to as many as its vectors."""
        place, count = row.ids.index(IMAGE), (self.clip.config.image_size // self.clip.config.patch_size) ** 2
        return tuple([*values[:place], *[IGNORED] * count, *values[place + 1 :]] for values in (row.ids, row.labels))

    def logits(self, hidden):
        return self.llama.get_output_embeddings()(hidden)

    def masks(self, hidden, image):
        """Draw a mask for each hidden state, at the image's own size ``[n, h, w]``."""
        if len(hidden) == 0:
            return torch.zeros(0, *image.shape[:2])
        pixels, size = self.sam_pixels(image)
        features = self.sam.vision_encoder(self._like(pixels)).last_hidden_state
        positions = self.sam.get_image_wide_positional_embeddings()
        nothing = self.sam.prompt_encoder(None, None, None, None)[1]
        drawn = [
            self.sam.mask_decoder(features, positions, self.fcs(state)[None, None, None], nothing, False)[0][0]
            for state in hidden
        ]
        whole = interpolate(torch.cat(drawn), (self.side, self.side), mode="bilinear", align_corners=False)
        shown = whole[..., : size[0], : size[1]]
        return interpolate(shown, image.shape[:2], mode="bilinear", align_corners=False)[:, 0]

    def drawn(self, row, hidden=None):
        """Draw the masks of a row, from the states that predict its present tokens."""
        hidden = self.hidden(row.ids, row.image) if hidden is None else hidden
        return self.masks(hidden[self.mask_positions(row)], row.image)

    def mask_positions(self, row):
        """Return the positions before a row's present tokens."""
        _, labels = self.spliced(row)
        return [place - 1 for place, label in enumerate(labels) if label == self.added["<ins>"]]

    def losses(self, rows):
        """Cross entropy over all supervised tokens; BCE and Dice over all masks of all rows."""
        logits, labels, bce, dice = [], [], [], []
        for row in rows:
            ids, wanted = self.spliced(row)
            hidden = self.hidden(row.ids, row.image)
            supervised = [place for place in range(1, len(ids)) if wanted[place] != IGNORED]
            logits.append(self.logits(hidden[[place - 1 for place in supervised]]))
            labels += [wanted[place] for place in supervised]
            for mask, truth in zip(self.drawn(row, hidden), row.masks, strict=True):
                truth, there = torch.from_numpy(truth).to(mask), mask.sigmoid()
                bce.append(binary_cross_entropy_with_logits(mask, truth))
                overlap = 2 * (there / 1000 * truth).sum() + 1e-6
                dice.append(1 - overlap / ((there / 1000).sum() + (truth / 1000).sum() + 1e-6))
        parts = {"ce": cross_entropy(torch.cat(logits), torch.tensor(labels))}
        parts |= {
            name: torch.stack(some).mean() if some else torch.zeros(())
            for name, some in zip(("bce", "dice"), (bce, dice), strict=True)
        }
        return {"loss": parts["ce"] + 2.0 * parts["bce"] + 0.5 * parts["dice"], **parts}

    @torch.no_grad()
    def write(self, ids, image, most):
        """Write the most probable token again and again, each time over the whole row; return what was written."""
        written = []
        while len(written) < most and written[-1:] != [2]:
            written.append(int(self.logits(self.hidden([*ids, *written], image)[-1]).argmax()))
        return written

    def _like(self, pixels):
        return pixels[None].to(self.projector.weight)

    def __repr__(self):
        return type(self).__name__  # rather than all of its layers, where a test fails

    def clip_pixels(self, image):
        """Shortest side to the tower's, bicubic, and the middle square of that."""
        side = self.clip.config.image_size
        height, width = (int(side * length / min(image.shape[:2])) for length in image.shape[:2])
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        top, left = (height - side) // 2, (width - side) // 2
        square = (resized[top : top + side, left : left + side] * (1 / 255)).astype(np.float32)
        return torch.from_numpy((square - CLIP[0]) / CLIP[1]).permute(2, 0, 1)

    def sam_pixels(self, image):
        """Longest side to SAM's, bilinear, zeros at right and bottom; also the size without them."""
        scale = self.side / max(image.shape[:2])
        height, width = (max(1, int(length * scale + 0.5)) for length in image.shape[:2])
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        pixels = torch.zeros(3, self.side, self.side)
        pixels[:, :height, :width] = torch.from_numpy((resized - SAM[0]) / SAM[1]).permute(2, 0, 1)
        return pixels, (height, width)


def plain_llama(settings, state, lora):
    rows = len(state["model.embed_tokens.weight"])
    llama = LlamaForCausalLM(LlamaConfig(**{**settings, "model_type": "llama", "vocab_size": rows}))
    llama.load_state_dict({name.replace(".base_layer.", "."): state[name] for name in state if own(name)})
    if lora is None:
        return llama
    rank, alpha, targets = lora
    adapted = get_peft_model(llama, LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets)))
    halves = {f"base_model.model.{name}": value for name, value in state.items() if "lora_" in name}
    assert adapted.load_state_dict(halves, strict=False).unexpected_keys == []
    adapted.get_input_embeddings().weight.requires_grad_(True)
    adapted.get_output_embeddings().weight.requires_grad_(True)
    return adapted


def own(name):
    """Say whether a tensor is one of the Llama's own layers."""
    others = ("visual_model", "text_hidden_fcs", "mm_projector", "vision_tower", "inv_freq", "lora_")
    return not any(part in name for part in others)


def plain_sam(sizes, state):
    sam = SamModel(SamConfig(**sizes))
    root = "model.visual_model."
    sam.original_names = [name for name in state if name.startswith(root)]
    named = {sam_name(name.removeprefix(root)): state[name] for name in sam.original_names}
    named["shared_image_embedding.positional_embedding"] = named["prompt_encoder.shared_embedding.positional_embedding"]
    sam.load_state_dict(named)
    sam.vision_encoder.requires_grad_(False)
    sam.prompt_encoder.requires_grad_(False)
    return sam


def sam_name(name):
    for pattern, words in SAM_NAMES:
        name = re.sub(pattern, words, name)
    return name


def filled(network, state, root):
    network.load_state_dict({name: state[f"model.{root}{name}"] for name in network.state_dict()})
    return network
