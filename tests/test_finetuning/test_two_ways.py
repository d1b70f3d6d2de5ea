"""Fine-tuning runs in mmpretrain's classifier with its own backbone and with ours."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmvideomac.engine.launch import prepare
from mmvideomac.registry import MODELS
from tests.test_finetuning.photos import load, set_data, write_checkpoint, write_photos
from tests.test_tools.tools import failure


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp('photos'))


def tiny(photos, tmp_path, name='image_folder/cnxv2a_finetune') -> Config:
    """One epoch of three steps."""
    cfg = load(name)
    set_data(cfg, photos)
    path = write_checkpoint(tmp_path / 'pretrained.pth', cfg.model.backbone)
    cfg.model.backbone.init_cfg.checkpoint = str(path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for transform in loader.dataset.pipeline:
            for key in {'scale', 'crop_size'} & set(transform):
                transform[key] = 32
    cfg.merge_from_dict(
        dict(
            total_batch_size=4,
            param_scheduler=None,
            train_cfg=dict(max_epochs=1, val_interval=1),
            default_hooks=dict(checkpoint=dict(interval=1)),
            val_evaluator=dict(topk=(1,)),
            launcher='none',
        )
    )
    return cfg


def train(cfg: Config, work_dir) -> dict[str, torch.Tensor]:
    cfg.work_dir = cfg.experiment_name = str(work_dir)
    note = prepare(cfg)[0]
    assert f'x {cfg.total_batch_size // 4} accumulated iteration(s)' in note
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model.state_dict()


@pytest.mark.parametrize(
    'name, total_batch_size',
    [('image_folder/cnxv2a_finetune', 4), ('imagenet/rn50_finetune', 8)],
)
def test_both_ways_are_the_same_training(name, total_batch_size, photos, tmp_path):
    theirs = tiny(photos, tmp_path, name)
    theirs.total_batch_size = total_batch_size
    ours = theirs.copy()
    ours.model.backbone.type = f'mmvideomac.Sparse{theirs.model.backbone.type}'
    if 'cnxv2' in name:
        ours.model.backbone.type += 'V2'
        ours.model.backbone.gap_before_final_norm = True
    states = [train(theirs, tmp_path / 'theirs'), train(ours, tmp_path / 'ours')]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    start = torch.load(tmp_path / 'pretrained.pth')['state_dict']
    changed = [k for k, v in states[0].items() if k in start and not torch.equal(v, start[k])]
    assert len(changed) > 50
    checkpoint = torch.load(tmp_path / 'ours/epoch_1.pth')
    assert len(list((tmp_path / 'ours').glob('best_accuracy_top1_*.pth'))) == 1
    assert checkpoint['meta']['epoch'] == 1


def test_target_network_is_another_prefix(photos, tmp_path):
    cfg = tiny(photos, tmp_path)
    cfg.model.backbone.init_cfg.prefix = 'target.backbone.'
    model = MODELS.build(cfg.model)
    model.init_weights()
    state = torch.load(tmp_path / 'pretrained.pth')['state_dict']
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[f'target.backbone.{key}']), key


def test_bad_input_is_one_message(photos, tmp_path, capsys):
    cfg = tiny(photos, tmp_path)
    cfg.dump(tmp_path / 'config.py')
    command = [tmp_path / 'config.py', '--work-dir', tmp_path / 'run']
    for option, message in {
        'model.backbone.init_cfg.prefix=encoder.': "nothing of model.backbone with prefix='enc",
        'model.head.num_classes=10': 'model.head.num_classes is 10: set model.head.num_classes=3',
    }.items():
        assert message in failure(capsys, 'train', *command, '--cfg-options', option)
