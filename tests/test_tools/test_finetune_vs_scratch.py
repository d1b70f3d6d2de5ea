"""tools/benchmarks/finetune_vs_scratch.py."""

import json

import pytest

from tests.test_finetuning.photos import load, write_checkpoint, write_photos
from tests.test_tools.tools import load_tool


@pytest.fixture
def tool():
    return load_tool('benchmarks/finetune_vs_scratch')


@pytest.fixture
def config(tmp_path):
    cfg = load('image_folder/cnxv2a_finetune')
    write_checkpoint(tmp_path / 'pretrained.pth', cfg.model.backbone)
    cfg.dump(tmp_path / 'config.py')
    return str(tmp_path / 'config.py')


def test_every_way_and_seed(tool, config, tmp_path, monkeypatch, capsys):
    """With tools/train.py replaced: what it is told, and what its logs say."""
    calls = []

    def train(args, options, seed, work_dir):
        calls.append((options, seed, work_dir.name))
        log = work_dir / '20260101' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        scores = [90.0, 10.0 * seed + len(options)]  # the last counts, not the best
        lines = ['{"loss": 1}', *(json.dumps({'accuracy/top1': s}) for s in scores)]
        log.write_text('\n'.join(lines))
        return tool.accuracy(work_dir)

    monkeypatch.setattr(tool, 'train', train)
    path = str(tmp_path / 'pretrained.pth')
    options = ['--seeds', '2', '--json', f'{tmp_path}/r.json', '--work-dir', f'{tmp_path}/wd']
    assert tool.main([config, path, *options]) == 0
    rows = json.loads((tmp_path / 'r.json').read_text())['rows']
    assert [row['top1'] for row in rows] == [[1, 11], [1, 11], [3, 13]]
    init = 'model.backbone.init_cfg'
    assert [options for options, seed, _ in calls if seed == 1] == [
        [f'{init}=None'],
        [f'{init}.checkpoint={path}'],
        [
            f'{init}.checkpoint={path}',
            'model.backbone.type=mmvideomac.SparseConvNeXt',
            'model.backbone.gap_before_final_norm=True',
        ],
    ]
    assert len({folder for _, _, folder in calls}) == 6
    out = capsys.readouterr().out
    assert '| pre-trained, mmvideomac.SparseConvNeXt | 8.0 | 3.0, 13.0 |' in out


def test_a_run(tool, config, tmp_path):
    cfg_options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler=None']
    args = tool.parse_args([config, 'x', '--data', str(write_photos(tmp_path / 'photos'))])
    args.cfg_options = [*cfg_options, 'train_dataloader.num_workers=0']
    options = tool.ways(load('image_folder/cnxv2a_finetune'), str(tmp_path / 'pretrained.pth'))
    last = list(options.values())[-1]
    assert 0 <= tool.train(args, last, 0, tmp_path / 'run') <= 100


def test_what_a_run_that_failed_said(tool, tmp_path, monkeypatch):
    script = tmp_path / 'train.py'
    script.write_text("print('first')\nexit('tools/train.py: no such data')")
    monkeypatch.setattr(tool, 'TRAIN', script)
    with pytest.raises(ValueError, match=r'output\.txt: tools/train\.py: no such data$'):
        tool.train(tool.parse_args(['c', 'x']), [], 0, tmp_path / 'run')


def test_bad_arguments_are_one_message(tool, config, capsys):
    assert tool.main([config, 'none.pth']) == 1
    assert 'the checkpoint none.pth does not exist' in capsys.readouterr().err
    assert tool.main(['none.py', 'none.pth']) == 1
    assert 'the config none.py does not exist' in capsys.readouterr().err
