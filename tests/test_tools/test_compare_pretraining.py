"""The tool trains for real, goes on after an interruption, and sums up."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmvideomac.engine.pretraining_comparison import PretrainingComparison
from mmvideomac.visualization.curves import read_run
from tests.test_engine.methods import write_far, write_near
from tests.test_engine.tiny import REPOSITORY, write_videos
from tests.test_tools.tools import failure, load_tool


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Of the tools that are run."""
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('PYTHONPATH', str(REPOSITORY))
    monkeypatch.setenv('PYTHONWARNINGS', 'ignore')


@pytest.fixture
def videos(tmp_path):
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    return tmp_path / 'videos'


def words(configs, out, frames=192, epochs=2):
    return [*map(str, configs), '--frames', str(frames), '--epochs', str(epochs), '--out', str(out)]


def iterations(comparison_folder, name):
    """What was logged in each start of a method."""
    logs = sorted((comparison_folder / name / 'run').glob('*/vis_data/scalars.json'))
    return [[json.loads(line)['iter'] for line in log.read_text().splitlines()] for log in logs]


def test_interrupted_and_called_again(tmp_path, videos, monkeypatch, capsys):
    """Two methods; SIGTERM stops the second."""
    options = {'default_hooks.logger.interval': 1}
    out, tool = tmp_path / 'out', load_tool('compare_pretraining')
    near, far = (write(tmp_path, videos, **options) for write in (write_near, write_far))
    # 8 videos x 6 samples x 2 frames: 6 batches of 8, 4 of 12.
    command = words([near, far], out)

    train, interrupted = tool.train, []

    def interrupt(config, work_dir, *options):
        if 'far' not in str(config) or interrupted:
            return train(config, work_dir, *options)
        interrupted.append(True)
        sender = dict(type='SendSignalHook', at=1, number=int(signal.SIGTERM))
        settings = [f'default_hooks.sender.{key}={value}' for key, value in sender.items()]
        return train(config, work_dir, *options, '--cfg-options', *settings)

    monkeypatch.setattr(tool, 'train', interrupt)
    assert tool.main(command) == 130
    said = capsys.readouterr()
    assert 'the same command goes on' in said.err
    assert 'epoch 2, iteration 6/6: 0:00:00 left' in said.out
    assert not (out / 'comparison.md').exists()
    assert (out / 'far/run/mid_epoch.pth').is_file()

    assert tool.main(command) == 0
    said = capsys.readouterr()
    assert 'near: trained already' in said.out and 'nothing was evaluated' in said.out
    assert iterations(out, 'near') == [[*range(1, 13)]]
    assert iterations(out, 'far') == [[1, 2], [*range(3, 9)]]
    for name, steps in (('near', 12), ('far', 8)):
        checkpoint = torch.load(out / name / 'run/epoch_2.pth')
        assert checkpoint['meta']['iter'] == steps
        assert read_run(out / name / 'run').training.seconds > 0

    summary = json.loads((out / 'comparison.json').read_text())
    near, far = summary['methods']
    assert summary['shared']['frames'] == near['frames'] == far['frames'] == 192
    assert (near['steps'], far['steps'], far['batch_size'], far['seed']) == (12, 8, 12, 0)
    for method in (near, far):
        assert method['pairs_per_s'] > 0 and method['memory'] > 0 and method['minutes'] > 0
        logged = read_run(out / method['method'] / 'run').series('loss', 'iteration')[1]
        assert [method['first_loss'], method['last_loss']] == [logged[0], logged[-1]]
    text = (out / 'comparison.md').read_text()
    assert re.search(r'^\| far \| 192 \| 2 \| 8 \| 12 \| ', text, re.MULTILINE)
    assert '`train_dataloader.dataset.pipeline.0.scale`: 96 -> 64' in text

    # All is done: nothing is trained again.
    monkeypatch.setattr(tool, 'train', lambda *_: pytest.fail('began'))
    assert tool.main(command) == 0
    # Other work is none of this folder.
    message = failure(capsys, 'compare_pretraining', *command, '--seed', 1)
    assert 'other settings of near: randomness.seed 0 then, 1 now' in message
    shorter = words([tmp_path / 'near.py', tmp_path / 'far.py'], out, frames=96, epochs=1)
    message = failure(capsys, 'compare_pretraining', *shorter)
    assert 'train_cfg.max_epochs 2 then, 1 now' in message
    (videos / 'video3').rename(videos / 'video9')
    message = failure(capsys, 'compare_pretraining', *command)
    assert f'{out} was begun with other videos: video3, video9' in message


def test_sigterm_ends_the_training_that_runs(tmp_path, videos):
    options = {'default_hooks.logger.interval': 1}
    near, out = write_near(tmp_path, videos, **options), tmp_path / 'out'
    tool = str(REPOSITORY / 'tools/compare_pretraining.py')
    command = [sys.executable, tool, *words([near], out, frames=80_000, epochs=5)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if 'iteration 2/' in line:
            process.terminate()
            break
    said = process.stdout.read()
    assert process.wait(timeout=60) == 130, said
    assert 'the same command goes on' in said
    assert (out / 'near/run/mid_epoch.pth').is_file()


def test_command_of_the_evaluation(tmp_path, videos):
    """All encoders in one call, each as trained and as initialised."""
    tool, out = load_tool('compare_pretraining'), tmp_path / 'out'
    data = ['--davis', 'data/davis', '--jhmdb', 'data/jhmdb', '--jobs', '2']
    configs = [write_near(tmp_path, videos), write_far(tmp_path, videos)]
    args = tool.parse_args([*words(configs, out), *data, '--', '--protocol', 'dino'])
    work = tool.equalise(configs, out / 'videos.txt', args.frames, args.epochs)
    command = tool.evaluation_command(args, PretrainingComparison(out, work).encoders())
    assert command == [
        'evaluate_encoder.py',
        f'{out}/near/config.py:{out}/near/run/epoch_2.pth@name=near',
        f'{out}/near/config.py:random@name=near_random',
        f'{out}/far/config.py:{out}/far/run/epoch_2.pth@name=far',
        f'{out}/far/config.py:random@name=far_random',
        'color',
        *('--davis', 'data/davis', '--jhmdb', 'data/jhmdb'),
        *('--json', f'{out}/evaluation.json'),
        *('--markdown', f'{out}/evaluation.md'),
        *('--html', f'{out}/evaluation.html'),
        *('--work-dir', f'{out}/evaluation'),
        *('--jobs', '2', '--protocol', 'dino'),
    ]
    assert tool.evaluation_command(tool.parse_args(words(configs, out)), []) == []


def test_the_evaluation_is_a_part_of_the_summary(tmp_path, videos, monkeypatch):
    tool, out = load_tool('compare_pretraining'), tmp_path / 'out'
    near = write_near(tmp_path, videos)

    def evaluate(command, progress, text):
        assert command[0] == 'evaluate_encoder.py' and (out / 'comparison.md').is_file()
        (out / 'evaluation.md').write_text('| near | 12.34 |\n')
        return True

    monkeypatch.setattr(tool, 'run_tool', evaluate)
    assert tool.main([*words([near], out, 64, 1), '--davis', 'data/davis']) == 0
    assert (out / 'comparison.md').read_text().endswith('| near | 12.34 |\n')


def test_bad_arguments(tmp_path, videos, capsys):
    out = tmp_path / 'out'
    assert 'no.py does not exist' in failure(
        capsys, 'compare_pretraining', *words([tmp_path / 'no.py'], out)
    )
    benchmark = Path(REPOSITORY, 'configs/benchmarks/davis2017/dino.py')
    message = failure(capsys, 'compare_pretraining', *words([benchmark], out))
    assert 'no config of pre-training' in message
    message = failure(
        capsys, 'compare_pretraining', *words([write_near(tmp_path, videos)], out, frames=10)
    )
    assert 'Ask for --frames 32' in message
    assert not out.exists()
