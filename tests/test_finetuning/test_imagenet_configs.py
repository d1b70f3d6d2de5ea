"""configs/benchmarks/imagenet: fine-tuning and linear probes in mmpretrain's classifier."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmvideomac.engine import (
    AtomicCheckpointHook,
    ClassCountCheckHook,
    OptimStepEMAHook,
    PretrainedCheckHook,
)
from mmvideomac.registry import HOOKS, MODELS, PARAM_SCHEDULERS
from tests.test_finetuning.photos import (
    BENCHMARKS,
    load,
    narrow,
    read,
    set_data,
    write_checkpoint,
    write_photos,
)

NAMES = sorted(
    str(path.relative_to(BENCHMARKS).with_suffix(''))
    for folder in ('imagenet', 'image_folder')
    for path in (BENCHMARKS / folder).glob('*.py')
)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp('photos'))


def build(cfg):
    return MODELS.build(dict(data_preprocessor=cfg.data_preprocessor, **cfg.model))


@pytest.mark.parametrize('name', NAMES)
def test_config_trains_from_a_checkpoint_of_pre_training(name, photos, tmp_path):
    cfg = load(name)
    set_data(cfg, photos)
    path = write_checkpoint(tmp_path / 'epoch_1.pth', cfg.model.backbone)
    cfg.model.backbone.init_cfg.checkpoint = str(path)
    model = build(cfg)
    model.init_weights()
    state = torch.load(path)['state_dict']
    for key, value in model.backbone.state_dict().items():
        torch.testing.assert_close(value, state[f'backbone.{key}'], rtol=0, atol=0, msg=key)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for scheduler in cfg.param_scheduler:
        default = dict(optimizer=wrapper.optimizer, epoch_length=2, end=cfg.train_cfg.max_epochs)
        PARAM_SCHEDULERS.build(dict(default, **scheduler))
    checks = {HOOKS.get(hook.type) for hook in cfg.default_hooks.values()}
    assert checks > {AtomicCheckpointHook, ClassCountCheckHook, PretrainedCheckHook}
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    model.train()
    loss = model(**model.data_preprocessor(batch, True), mode='loss')['loss']
    loss.backward()
    moved = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert torch.isfinite(loss) and 'head.fc.weight' in moved
    encoder = {key for key in moved if key.startswith(('backbone.stages', 'backbone.layer'))}
    assert bool(encoder) == ('linear' not in name)


@pytest.mark.parametrize(
    'name, encoder, epochs, lr',
    [
        ('imagenet/cnxv1t_finetune', 'videomac_cnxv1t_yt18', 300, 3.2e-3),
        ('imagenet/cnxv2t_finetune', 'videomac_cnxv2t_yt18', 300, 3.2e-3),
        ('imagenet/cnxv2s_finetune', 'videomac_cnxv2s_yt18', 100, 2.5e-3),
        ('imagenet/rn50_finetune', 'videomac_rn50_yt18', 300, 5e-3),
        ('imagenet/cnxv1t_linear', 'videomac_cnxv1t_yt18', 90, 6.4),
        ('imagenet/cnxv2t_linear', 'videomac_cnxv2t_yt18', 90, 6.4),
        ('imagenet/cnxv2s_linear', 'videomac_cnxv2s_yt18', 90, 6.4),
        ('imagenet/rn50_linear', 'videomac_rn50_yt18', 90, 6.4),
        ('image_folder/cnxv2a_finetune', 'videomac_cnxv2a_own_videos_cpu', 15, 1e-3),
    ],
)
def test_encoder_is_that_of_the_pre_training(name, encoder, epochs, lr):
    cfg = read(name)
    pretraining = Config.fromfile(BENCHMARKS.parent / f'{encoder}.py')
    assert cfg.model.backbone.init_cfg.checkpoint == f'work_dirs/{encoder}/epoch_100.pth'
    assert pretraining.train_cfg.max_epochs == 100
    assert (cfg.train_cfg.max_epochs, cfg.optim_wrapper.optimizer.lr) == (epochs, lr)
    assert cfg.model.backbone.get('arch') == pretraining.model.backbone.get('arch')
    assert cfg.model.backbone.get('depth') == pretraining.model.backbone.get('depth')
    ours = MODELS.build(dict(narrow(pretraining.model.backbone), _scope_='mmvideomac'))
    theirs = MODELS.build(narrow(cfg.model.backbone))
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_recipe_of_convnext_v2():
    cfg = load('imagenet/cnxv2t_finetune')
    assert cfg.model.backbone.drop_path_rate == 0.2
    assert [augment.type for augment in cfg.model.train_cfg.augments] == ['Mixup', 'CutMix']
    assert cfg.model.head.loss.label_smooth_val == 0.2
    (average,) = cfg.custom_hooks
    assert HOOKS.get(average.type) is OptimStepEMAHook and average.momentum == 1e-4
    assert (cfg.total_batch_size, cfg.param_scheduler[0].end) == (1024, 40)


def scales(cfg) -> dict[str, float]:
    wrapper = build_optim_wrapper(build(cfg), cfg.optim_wrapper)
    return {group['param_name']: group['lr_scale'] for group in wrapper.optimizer.param_groups}


@pytest.mark.parametrize(
    'name, layers',
    [
        (
            'imagenet/cnxv2t_finetune',
            {
                'downsample_layers.0.0.weight': 0,
                'stages.0.2.grn.gamma': 1,
                'downsample_layers.1.1.weight': 2,
                'downsample_layers.2.1.weight': 3,
                'stages.2.2.depthwise_conv.weight': 3,
                'stages.2.3.depthwise_conv.weight': 4,
                'stages.2.8.norm.weight': 5,
                'downsample_layers.3.1.weight': 6,
                'stages.3.2.pointwise_conv2.bias': 6,
                'norm3.weight': 7,
            },
        ),
        (
            'imagenet/cnxv2s_finetune',
            {'stages.2.0.norm.bias': 3, 'stages.2.26.norm.bias': 11, 'stages.3.0.norm.bias': 12},
        ),
        (
            'imagenet/rn50_finetune',
            {
                'conv1.weight': 0,
                'layer1.0.downsample.0.weight': 1,
                'layer2.1.conv1.weight': 2,
                'layer2.3.bn3.weight': 3,
                'layer3.5.conv1.weight': 5,
                'layer4.2.conv3.weight': 6,
            },
        ),
    ],
)
def test_layers_learn_the_slower_the_earlier_in_both_backbones(name, layers):
    cfg = load(name)
    rate = cfg.optim_wrapper.paramwise_cfg.layer_decay_rate
    theirs = scales(cfg)
    last = 13 if 'cnxv2s' in name else 7  # of the head
    for key, layer in layers.items():
        assert theirs[f'backbone.{key}'] == pytest.approx(rate ** (last - layer)), key
    assert theirs['head.fc.weight'] == 1
    cfg.model.backbone.type = f'mmvideomac.Sparse{cfg.model.backbone.type}'
    assert scales(cfg) == theirs
