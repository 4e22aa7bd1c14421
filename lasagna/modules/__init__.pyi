from .assistant import Assistant
from .base import FeatureSpec, LanguageModel, MaskHead, VisionEncoder, VisualTower
from .decoding.chat import Chat, ChatTurn
from .encoded_images import EncodedImages
from .image_processors import CropImageProcessor, PadImageProcessor, SamImageProcessor, SquashImageProcessor
from .image_text.family import Family
from .image_text.language_model import ImageTextModel
from .language_models.base import TransformersLanguageModel
from .language_models.causal import CausalLanguageModel
from .language_models.lora import LoRA
from .language_models.pretrained import Quantization
from .language_models.pretrained_model import PretrainedLanguageModel
from .language_models.smollm2 import SmolLM2
from .language_models.text_processor import TokenizerTextProcessor
from .llava.language_model import LlavaV1
from .losses import AssistantOutput, MaskLoss, MaskTerm, SegmentationLoss, TrainingLoss
from .map_comparison import MapComparison
from .mask2former.mask_head import Mask2FormerHead
from .mask2former.sizes import Mask2FormerSize
from .mask_heads.dot import DotMaskHead
from .mask_heads.objects import ObjectMaskHead
from .mask_prediction import MaskPrediction
from .object_loss import ObjectLoss
from .presence_head import PresenceHead, PresencePrediction
from .sam.mask_head import SamMaskHead
from .sam.sizes import SamHeadSize, SamSize
from .sam.vision_encoder import SamVisionEncoder
from .sam2.mask_head import Sam2MaskHead
from .sam2.sizes import Sam2Size
from .sam2.vision_encoder import Sam2VisionEncoder
from .sam3.mask_head import Sam3MaskHead
from .sam3.sizes import Sam3HeadSize, Sam3Size
from .sam3.vision_encoder import Sam3VisionEncoder
from .tiny.language_model import TinyLanguageModel
from .tiny.mask_head import TinyMaskHead
from .tiny.vision_encoder import TinyVisionEncoder
from .vision_encoders.efficientnet_lite import EfficientNetLite0
from .vision_encoders.feature_cache import FeatureCache
from .vision_encoders.lora import VisionLoRA
from .vision_encoders.pyramid import FeaturePyramid
from .vision_encoders.shared_tower import SharedTower
from .vision_encoders.timm import TimmEncoder
from .vision_encoders.transformers_backbone import TransformersEncoder

__all__ = [
    "Assistant",
    "AssistantOutput",
    "CausalLanguageModel",
    "Chat",
    "ChatTurn",
    "CropImageProcessor",
    "DotMaskHead",
    "EfficientNetLite0",
    "EncodedImages",
    "Family",
    "FeatureCache",
    "FeaturePyramid",
    "FeatureSpec",
    "ImageTextModel",
    "LanguageModel",
    "LlavaV1",
    "LoRA",
    "MapComparison",
    "Mask2FormerHead",
    "Mask2FormerSize",
    "MaskHead",
    "MaskLoss",
    "MaskPrediction",
    "MaskTerm",
    "ObjectLoss",
    "ObjectMaskHead",
    "PadImageProcessor",
    "PresenceHead",
    "PresencePrediction",
    "PretrainedLanguageModel",
    "Quantization",
    "Sam2MaskHead",
    "Sam2Size",
    "Sam2VisionEncoder",
    "Sam3HeadSize",
    "Sam3MaskHead",
    "Sam3Size",
    "Sam3VisionEncoder",
    "SamHeadSize",
    "SamImageProcessor",
    "SamMaskHead",
    "SamSize",
    "SamVisionEncoder",
    "SegmentationLoss",
    "SharedTower",
    "SmolLM2",
    "SquashImageProcessor",
    "TimmEncoder",
    "TinyLanguageModel",
    "TinyMaskHead",
    "TinyVisionEncoder",
    "TokenizerTextProcessor",
    "TrainingLoss",
    "TransformersEncoder",
    "TransformersLanguageModel",
    "VisionEncoder",
    "VisionLoRA",
    "VisualTower",
]
