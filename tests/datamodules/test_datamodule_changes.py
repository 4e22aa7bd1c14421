"""Everything that changes records and queries is the same for any number of workers, and after a stop."""

from itertools import islice

import pytest

from lasagna.datamodules import (
    Albumentations,
    CopyPaste,
    HardNegatives,
    LargeScaleJitter,
    NegativeInjection,
    OrderRandomization,
    RepeatFactors,
    SceneWriter,
    ShardDataModule,
    Source,
    Torchvision,
)
from lasagna.tasks import Semantic
from tests.helpers.data_fakes import processors

STREAMS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    SceneWriter(str(folder), train=24, val=1, test=1, size=64, processes=1).prepare()
    return folder


def loader(folder, workers):
    library = pytest.importorskip("albumentations", reason="needs the extra `albumentations`")
    from torchvision.transforms import v2

    transforms = [
        CopyPaste(0.7),
        LargeScaleJitter(),
        Torchvision([v2.RandomResizedCrop(48), v2.ColorJitter(0.3, hue=0.3)]),
        Albumentations(library.OneOf([library.HorizontalFlip(p=1), library.GaussNoise(p=1)])),
    ]
    source = Source(f"{folder}/train", Semantic(), transforms=transforms, sampler=RepeatFactors(0.5))
    strategies = [HardNegatives(6, words=0.2), NegativeInjection(), OrderRandomization()]
    data = ShardDataModule(
        train=[source], strategies=strategies, batch_size=4, num_workers=workers, streams=STREAMS, samples_per_epoch=48
    )
    data.connect(processors())
    data.setup("fit")
    return data.train_dataloader()


def content(batch):
    """Return all that an assistant learns from in a batch."""
    tensors = (batch.pixels, batch.input_ids, batch.mask_targets)
    return [sample.key for sample in batch.samples], [tensor.numpy().tobytes() for tensor in tensors]


@pytest.mark.slow
def test_workers_and_a_stop_change_nothing(folder):
    whole = list(map(content, loader(folder, 0)))
    assert list(map(content, loader(folder, STREAMS))) == whole
    stopped = loader(folder, 0)
    list(islice(stopped, 5))
    state = stopped.state_dict()
    resumed = loader(folder, STREAMS)
    resumed.load_state_dict(state)
    assert list(map(content, resumed)) == whole[5:]
