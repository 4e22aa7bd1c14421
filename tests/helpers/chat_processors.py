"""Processors of transformers for tiny image-text models, with chat templates in the shape of each family's."""

from __future__ import annotations

import numpy as np
import transformers
from PIL import Image
from transformers.models.smolvlm import processing_smolvlm

from lasagna.modules.image_text.language_model import ImageTextModel
from tests.helpers.chat_tokenizers import blank_tokenizer, byte_tokenizer
from tests.helpers.image_text_models import SETTINGS

PICTURE = Image.fromarray(np.zeros((28, 28, 3), np.uint8))
VICUNA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}{% else %}{{ '<image>' }}"
    "{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}IMAGE"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else 'user' %}"
    "{{ '<start_of_turn>' + role + '\n' }}{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    "{{ '<start_of_image>' }}{% else %}{{ item['text'] | trim }}{% endif %}{% endfor %}{{ '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
VISION = {"patch_size": 7, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
CROPPED = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
WHOLE = {"size": {"longest_edge": 28}, "max_image_size": {"longest_edge": 28}, "do_image_splitting": False}
SQUARE = {"height": 28, "width": 28}


def llava():
    tokenizer, images = blank_tokenizer(VICUNA, ("<image>",)), transformers.CLIPImageProcessor(**CROPPED)
    return transformers.LlavaProcessor(images, tokenizer, chat_template=VICUNA, **VISION)


def llava_next():
    images = transformers.LlavaNextImageProcessor(image_grid_pinpoints=[[28, 28]], **CROPPED)
    tokenizer = blank_tokenizer(VICUNA, ("<image>",))
    return transformers.LlavaNextProcessor(images, tokenizer, chat_template=VICUNA, **VISION)


def llava_onevision():
    images = transformers.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=[[28, 28]])
    tokenizer = _chatml("<image>\n", "<image>", "<video>")
    return transformers.LlavaOnevisionProcessor(
        images,
        tokenizer,
        transformers.LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )


def internvl():
    tokenizer = _chatml("<IMG_CONTEXT>\n", "<IMG_CONTEXT>", "<img>", "</img>", "<video>")
    names = {"start_image": "<img>", "end_image": "</img>", "context_image": "<IMG_CONTEXT>", "video": "<video>"}
    for name, token in names.items():
        setattr(tokenizer, f"{name}_token", token)
        setattr(tokenizer, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
    images = transformers.GotOcr2ImageProcessor(size=SQUARE)
    videos, template = transformers.InternVLVideoProcessor(), tokenizer.chat_template
    return transformers.InternVLProcessor(images, tokenizer, videos, image_seq_length=4, chat_template=template)


def idefics3():
    images = transformers.Idefics3ImageProcessor(**WHOLE)
    return transformers.Idefics3Processor(images, _idefics(), image_seq_len=4, chat_template=IDEFICS)


def smolvlm():
    images, videos = transformers.SmolVLMImageProcessor(**WHOLE), transformers.SmolVLMVideoProcessor()
    # it spells numbers in prompts about videos with a package that is not needed here
    processing_smolvlm.num2words = processing_smolvlm.num2words or str
    return transformers.SmolVLMProcessor(images, _idefics(), videos, image_seq_len=4, chat_template=IDEFICS)


def gemma3():
    """Gemma's template writes one token for an image, in place of which the processor puts others."""
    names = {"boi": "<start_of_image>", "eoi": "<end_of_image>", "image": "<image_soft_token>"}
    special = (*names.values(), "<start_of_turn>", "<end_of_turn>")
    tokenizer = blank_tokenizer(GEMMA3, special, bos="<bos>", eos="<eos>", prepends="never")
    for name, token in names.items():
        setattr(tokenizer, f"{name}_token", token)
        setattr(tokenizer, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
    images = transformers.Gemma3ImageProcessor(size=SQUARE)
    return transformers.Gemma3Processor(images, tokenizer, chat_template=GEMMA3, image_seq_length=4)


def lfm2_vl():
    special = ("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", "<|im_start|>", "<|im_end|>")
    template = "{{ bos_token }}" + QWEN.replace("IMAGE", "<image>")
    tokenizer = byte_tokenizer(template, special, bos="<|startoftext|>", eos="<|im_end|>")
    return transformers.Lfm2VlProcessor(lfm2_vl_images(), tokenizer, chat_template=template)


def lfm2_vl_images(**settings):
    sizes = {"encoder_patch_size": 7, "tile_size": 28, "min_image_tokens": 1, "max_image_tokens": 64}
    return transformers.Lfm2VlImageProcessor(**sizes, do_image_splitting=False, **settings)


VIEWS = ("<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>")


def molmo2():
    """Its processor puts the end token before prompts of a tokeniser without a start token."""
    special = ("<|image|>", "<|video|>", *VIEWS, "<frame_start>", "<frame_end>", "<im_low>")
    tokenizer = _chatml("<|image|>", *special)
    videos = transformers.Molmo2VideoProcessor()
    return transformers.Molmo2Processor(molmo2_images(35), videos, tokenizer, chat_template=tokenizer.chat_template)


def molmo2_images(side, **settings):
    sizes = {"size": {"height": side, "width": side}, "patch_size": 7, "max_crops": 1, "overlap_margins": [1, 1]}
    return transformers.Molmo2ImageProcessor(**sizes, **settings)


def qwen(name="Qwen2VL", video="Qwen2VL"):
    tokens = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
    tokenizer = _chatml("<|vision_start|><|image_pad|><|vision_end|>", *tokens)
    sizes = {"patch_size": 7, "merge_size": 2, "temporal_patch_size": 2, "min_pixels": 196, "max_pixels": 784}
    images, videos = transformers.Qwen2VLImageProcessor(**sizes), getattr(transformers, f"{video}VideoProcessor")()
    made = getattr(transformers, f"{name}Processor")
    return made(images, tokenizer, videos, chat_template=tokenizer.chat_template)


def _chatml(image, *special):
    return byte_tokenizer(QWEN.replace("IMAGE", image), (*special, "<|im_start|>", "<|im_end|>"), eos="<|im_end|>")


def _idefics():
    special = ("<image>", "<fake_token_around_image>", "<global-img>")
    return byte_tokenizer(IDEFICS, special, bos="<|im_start|>", eos="<end_of_utterance>")


PROCESSORS = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "smolvlm": smolvlm,
    "idefics3": idefics3,
    "qwen2_vl": qwen,
    "qwen2_5_vl": lambda: qwen("Qwen2_5_VL"),
    "qwen3_vl": lambda: qwen("Qwen3VL", "Qwen3VL"),
    "qwen3_5": lambda: qwen("Qwen3VL", "Qwen3VL"),
    "qwen3_vl_moe": lambda: qwen("Qwen3VL", "Qwen3VL"),
    "qwen3_5_moe": lambda: qwen("Qwen3VL", "Qwen3VL"),
    "gemma3": gemma3,
    "lfm2_vl": lfm2_vl,
    "molmo2": molmo2,
}


def chat_model(kind, processor, folder):
    """Return an image-text model that reads tokeniser and chat template from a folder, which is written here."""
    processor.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(processor.chat_template)
    image = getattr(processor.tokenizer, "image_token", None) or processor.image_token
    tokens = {"image_token_id": image, "image_token_index": image}
    tokens |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    tokens |= {"image_start_token_id": "<im_start>", "image_end_token_id": "<im_end>", "image_patch_id": "<im_patch>"}
    tokens |= {"image_col_id": "<im_col>", "low_res_image_start_token_id": "<low_res_im_start>"}
    numbers = {key: processor.tokenizer.convert_tokens_to_ids(token) for key, token in tokens.items()}
    settings = {key: numbers.get(key, value) for key, value in SETTINGS[kind].items()}
    return ImageTextModel(settings, str(folder), image_size=28, max_length=512)


def own_ids(processor, request, images=1):
    """Return the ids of a processor for a request about one picture or several."""
    content = [*[{"type": "image", "image": PICTURE}] * images, {"type": "text", "text": request}]
    asked = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True, return_dict=True
    )
    return list(asked["input_ids"][0])
