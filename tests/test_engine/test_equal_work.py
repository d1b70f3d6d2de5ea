"""Methods get the same clips, order, crops, masks and frames, and keep what is their own."""

import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from mmvideomac.datasets import EpochSampler
from mmvideomac.engine.equal_work import equalise, spread
from mmvideomac.registry import DATASETS, MODELS
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_file

from .methods import crop, write_far, write_method, write_near, write_three
from .tiny import write_videos


@pytest.fixture(autouse=True)
def own_index(tmp_path, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))


@pytest.fixture
def videos(tmp_path):
    """8 of 6 frames, and one that is too short for a gap of 2."""
    root = tmp_path / 'videos'
    root.mkdir()
    write_videos(root)
    (root / 'brief').mkdir()
    for frame in range(2):
        Image.new('RGB', (100, 80), (frame, 0, 0)).save(root / f'brief/{frame}.png')
    return root


def equal(tmp_path, *configs, frames=960, epochs=10, **settings):
    """The work, its list of videos written."""
    work = equalise(configs, tmp_path / 'videos.txt', frames, epochs, **settings)
    write_file(tmp_path / 'videos.txt', '\n'.join(work.videos))
    return work


def seen(cfg, epochs):
    """(video, frame indices, crop, flip, seed of the mask) of the samples of some epochs.

    The crop is told by what it left of a frame.
    """
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    sampler = EpochSampler(dataset, seed=cfg.randomness.seed)
    boxes = []
    transform = dataset.pipeline.transforms[0]
    draw = transform.rand_crop_params
    transform.rand_crop_params = lambda frame: boxes.append(draw(frame)) or boxes[-1]
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for key in sampler:
            sample = dataset[key]
            meta, inputs = sample['data_samples'], sample['inputs']
            assert {tuple(frame.shape) for frame in inputs} == {(3, 64, 64)}
            found.append((meta.video, meta.frame_indices, boxes[-1], meta.flip, meta.sample_seed))
    return found


def test_clips_crops_flips_and_masks_are_the_same(tmp_path, videos):
    configs = [write(tmp_path, videos) for write in (write_near, write_far, write_three)]
    work = equal(tmp_path, *configs, frames=1500, epochs=6)
    near, far, three = (seen(method.cfg, method.epochs) for method in work.methods)
    assert [(m.epochs, m.frames_per_sample, m.batch_size) for m in work.methods] == [
        (6, 2, 8),
        (6, 2, 12),
        (4, 3, 8),
    ]
    # 8 videos in batches of 8 and 12: 3 samples of each, or a multiple.
    assert work.repeats % 3 == 0 and work.samples_per_epoch == 8 * work.repeats
    assert [sum(len(sample[1]) for sample in m) for m in (near, far, three)] == 3 * [work.frames]
    for i in (0, 2, 3, 4):
        assert [sample[i] for sample in near] == [sample[i] for sample in far]
        assert [sample[i] for sample in three] == [sample[i] for sample in near[: len(three)]]
    # They are crops, not one: and the gaps are the methods' own.
    assert len({sample[2] for sample in near}) > 50 and {sample[3] for sample in near} == {0, 1}
    assert {j - i for _, (i, j), *_ in near} == {1}
    assert {j - i for _, (i, j), *_ in far} == {2, 3, 4}
    assert {sample[1][2] - sample[1][1] for sample in three} == {1}


def test_a_video_too_short_for_one_is_left_out_for_all(tmp_path, videos):
    work = equal(tmp_path, write_near(tmp_path, videos), write_far(tmp_path, videos))
    assert work.left_out == {'brief': ['far']}
    assert work.videos == [f'video{i}' for i in range(8)]
    alone = equal(tmp_path, write_near(tmp_path, videos), frames=1440)
    assert alone.left_out == {} and len(alone.videos) == 9


def test_no_video_is_long_enough(tmp_path, videos):
    (videos / 'list.txt').write_text('brief')
    far = {'train_dataloader.dataset.sampling': dict(type='per_video', repeats=1, gap=(2, 2))}
    (videos / 'only').mkdir()
    configs = write_near(tmp_path, videos), write_method(tmp_path / 'far.py', videos, **far)
    with pytest.raises(ValueError, match='no video is long enough'):
        equal(tmp_path, *configs, ann_file='list.txt')


def test_what_is_shared_and_what_is_not(tmp_path, videos):
    configs = [write(tmp_path, videos) for write in (write_near, write_far)]
    work = equal(
        tmp_path, *configs, seed=3, num_workers=2, crop_size=32, crop_ratio=(0.5, 0.9), frames=1000
    )
    assert work.frames == 960  # whole batches
    near, far = (method.cfg for method in work.methods)
    shared = crop(32) | dict(crop_ratio_range=(0.5, 0.9))
    for cfg in (near, far):
        loader = cfg.train_dataloader
        assert (cfg.randomness.seed, loader.num_workers, loader.persistent_workers) == (3, 2, True)
        assert loader.dataset.pipeline[0] == shared == work.crop
        assert loader.sampler == dict(type='EpochSampler', shuffle=True)
    files = [Config.fromfile(path) for path in configs]
    for cfg, file in zip((near, far), files, strict=True):
        assert (cfg.model, cfg.optim_wrapper) == (file.model, file.optim_wrapper)
        assert cfg.total_batch_size == file.total_batch_size
    assert near.train_dataloader.dataset.sampling == dict(type='per_video', gap=(1, 1), repeats=6)
    assert far.train_dataloader.dataset.sampling == dict(type='per_video', gap=(2, 4), repeats=6)
    changes = work.methods[1].changes
    assert changes['train_dataloader.dataset.pipeline.0.scale'] == (96, 32)
    assert not any(key.startswith(('model', 'optim_wrapper')) for key in changes)
    assert work.methods[1].encoder_parameters > work.methods[0].encoder_parameters
    # The target of VideoMAC is not trained.
    total = sum(p.numel() for p in MODELS.build(near.model).parameters())
    assert work.methods[0].trained_parameters == total // 2


def test_schedules_and_averages_are_stretched(tmp_path, videos):
    near = write_near(tmp_path, videos, **{'default_hooks.ema_target.momentum': 0.9})
    work = equal(tmp_path, near, frames=9 * 16 * 2 * 40, epochs=40)
    (method,) = work.methods
    steps = work.steps(method)
    assert (method.epochs, steps) == (40, 9 * 16 * 40 // 8)
    warmup, cosine = method.cfg.param_scheduler
    assert warmup.end == cosine.begin == steps // 10
    assert cosine.end == steps and cosine.T_max == steps - steps // 10
    # Its own 10 epochs are of 41 pairs.
    expected = 0.9 ** (410 / 8 / steps)
    assert method.cfg.default_hooks.ema_target.momentum == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
def test_the_learning_rate_is_that_of_the_config_at_its_own_length(tmp_path, videos):
    """Stretched by 1, the schedule is what mmengine makes of the file."""
    near = write_near(tmp_path, videos)
    sampling = {'train_dataloader.dataset.sampling': dict(type='per_video', repeats=8, gap=(1, 1))}
    own = Config.fromfile(write_near(tmp_path, videos, **sampling))
    work = equal(tmp_path, near, frames=9 * 8 * 2 * 10, epochs=10)
    rates = []
    for number, cfg in enumerate((own, work.methods[0].cfg)):
        cfg.work_dir, cfg.experiment_name = str(tmp_path / 'run'), f'equal_work{number}'
        cfg.optim_wrapper.type, cfg.log_level = 'FiniteOptimWrapper', 'WARNING'
        with DefaultScope.overwrite_default_scope('mmvideomac'):
            runner = Runner.from_cfg(cfg)
            runner.build_train_loop(cfg.train_cfg)
            runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
            schedulers = runner.build_param_scheduler(runner.param_schedulers)
        rates.append([])
        for _ in range(90):
            rates[-1].append(runner.optim_wrapper.get_lr()['lr'][0])
            runner.optim_wrapper.optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-9)
    assert max(rates[1]) == pytest.approx(0.02) and rates[1][0] < 1e-5


@pytest.mark.parametrize('frames, epochs', [(200_000, 20), (300_000, 5), (10**7, 100)])
@pytest.mark.parametrize('batches', [[32], [32, 32], [32, 48]])
@pytest.mark.parametrize('per_sample', [[2], [2, 3], [3, 4]])
def test_budget_is_nearly_met_in_whole_batches(frames, epochs, batches, per_sample):
    repeats, lengths = spread(frames, epochs, 44, batches, per_sample)
    assert all(44 * repeats % batch == 0 for batch in batches)
    totals = {44 * repeats * e * f for e, f in zip(lengths, per_sample, strict=True)}
    assert len(totals) == 1 and abs(totals.pop() - frames) < 0.1 * frames
    # Of samples of 3 and 4 frames, 4 and 3 epochs are equal, and no fewer.
    assert abs(max(lengths) - epochs) <= max(0.1 * epochs, max(per_sample) / 2)


def test_exact_budget_is_taken_exactly():
    assert spread(44 * 24 * 2 * 20, 20, 44, [32, 48], [2, 2]) == (24, [20, 20])


def test_budget_that_is_no_whole_number_of_batches():
    with pytest.raises(UserError, match='one takes 8256 frames') as error:
        spread(10_000, 20, 43, [32, 48], [2, 2])
    (frames,) = re.findall(r'--frames (\d+)', str(error.value))
    assert spread(int(frames), 20, 43, [32, 48], [2, 2]) == (96, [20, 20])


@MODELS.register_module()
class OfOneSize(nn.Module):
    """An encoder that is made for one size."""

    patch_size, img_size = 16, 96

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(1, 1)


ONE_SIZE = dict(_delete_=True, type='OfOneSize')


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(model=ONE_SIZE), r'OfOneSize is made for images of 96x96 .* 64x64.* --crop-size 96'),
        ({'model.head.patch_size': 48}, r'48-pixel patches of far.* --crop-size 96'),
        (
            {'train_cfg': dict(_delete_=True, max_iters=9)},
            'far.py: train_cfg.max_epochs',
        ),
        (
            {'param_scheduler': [dict(type='MultiStepLR', milestones=[3])]},
            'far: the schedule MultiStepLR cannot be stretched .* its milestones',
        ),
        ({'param_scheduler': [dict(type='ConstantLR')]}, 'without convert_to_iter_based'),
        (
            {
                'train_dataloader.dataset.pipeline': [
                    crop(),
                    dict(type='ApplyToFrames', transforms=[]),
                    dict(type='PackFramePair'),
                ]
            },
            'far: the pipeline .*ApplyToFrames.* cannot be given the crops',
        ),
    ],
)
def test_what_cannot_be_made_equal(tmp_path, videos, options, message):
    near = write_near(tmp_path, videos)
    with pytest.raises(UserError, match=message):
        equal(tmp_path, near, write_far(tmp_path, videos, **options))


def test_crop_size_that_suits_a_fixed_model(tmp_path, videos):
    near, far = write_near(tmp_path, videos), write_far(tmp_path, videos, model=ONE_SIZE)
    work = equal(tmp_path, near, far, crop_size=96)
    assert work.crop['scale'] == 96


def test_two_configs_of_one_name(tmp_path, videos):
    near = write_near(tmp_path, videos)
    with pytest.raises(UserError, match='two configs are named near'):
        equal(tmp_path, near, near)
