"""A folder of labelled images, and a checkpoint as pre-training leaves it."""

import copy
import functools
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmvideomac.registry import MODELS
from tests.test_engine.tiny import REPOSITORY
from tests.test_models.utils import NARROW, randomize

BENCHMARKS = REPOSITORY / 'configs' / 'benchmarks'
CLASSES = ('bag', 'cap', 'tie')


def write_photos(root: Path, splits=('train', 'val'), count=5, size=48) -> Path:
    """Red bags, green caps and blue ties, all of different textures."""
    rng = np.random.default_rng(0)
    for split in splits:
        for channel, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                cells = rng.integers(0, 128, (6, 6, 3), dtype=np.uint8)
                cells[..., channel] += 128
                photo = Image.fromarray(cells).resize((size, size))
                photo.save(folder / f'{index}.png')
    return root


def narrow(backbone: dict) -> dict:
    """The same encoder, in depth and names, with few channels."""
    if 'ResNet' in backbone['type']:
        return dict(backbone, **NARROW)
    depths = dict(atto=[2, 2, 6, 2], tiny=[3, 3, 9, 3], small=[3, 3, 27, 3])[backbone['arch']]
    return dict(backbone, arch=dict(depths=depths, channels=[8, 8, 8, 16]))


@functools.cache
def _read(name: str) -> Config:
    return Config.fromfile(BENCHMARKS / f'{name}.py')  # slow: bases in other packages


def read(name: str) -> Config:
    """A config as it is."""
    return copy.deepcopy(_read(name))


def load(name: str) -> Config:
    """A config with a narrow encoder, for three classes of small images."""
    cfg = read(name)
    model, width = cfg.model, 16
    if 'ResNet' in model.backbone.type:
        width = 16 * 4 * 8
    model.backbone = narrow(model.backbone)
    model.head.update(num_classes=len(CLASSES), in_channels=width)
    cfg.data_preprocessor.num_classes = len(CLASSES)
    necks = model.get('neck') or []
    for neck in necks if isinstance(necks, list) else [necks]:
        if 'input_features' in neck:
            neck.input_features = width
    return cfg


def set_data(cfg: Config, root: Path) -> None:
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].update(batch_size=4, num_workers=0)
        cfg[f'{split}_dataloader'].dataset.data_root = str(root)


def write_checkpoint(path: Path, backbone: dict, initialise=randomize) -> Path:
    """Of pre-training: an online encoder and its target, which differs."""
    convnext = 'SparseConvNeXtV2' if backbone.get('use_grn') else 'SparseConvNeXt'
    kind = 'SparseResNet' if 'ResNet' in backbone['type'] else convnext
    kept = ('arch', 'depth', 'base_channels', 'stem_channels')
    encoder = dict(
        _scope_='mmvideomac', type=kind, **{key: backbone[key] for key in kept if key in backbone}
    )
    state = {}
    for prefix, seed in (('backbone.', 0), ('target.backbone.', 1)):
        network = initialise(MODELS.build(encoder), seed)
        state.update({prefix + key: value for key, value in network.state_dict().items()})
    state['head.mask_token'] = torch.zeros(1, 8, 1, 1)
    torch.save(dict(meta=dict(epoch=1, iter=1), state_dict=state), path)
    return path
