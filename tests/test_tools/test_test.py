"""tools/test.py and tools/dist_test.sh, as a user starts them."""

import json
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvideomac.evaluation.benchmark import Evaluation
from mmvideomac.evaluation.metrics import DAVISMetric
from mmvideomac.models import SparseConvNeXtV2
from tests.test_engine.tiny import REPOSITORY
from tests.test_evaluation.clips import write_davis
from tests.test_models.utils import ARCH
from tests.test_tools.test_train import environment, no_gpu
from tests.test_tools.tools import failure, load_tool


@pytest.fixture
def config(tmp_path):
    """DAVIS by the rules of crw, whose input is of native size: 64x96 here."""
    cfg = Config.fromfile(REPOSITORY / 'configs/benchmarks/davis2017/crw.py')
    cfg.model.backbone.arch = ARCH
    cfg.test_dataloader.dataset.data_root = str(write_davis(tmp_path / 'davis'))
    path = tmp_path / 'tiny.py'
    cfg.dump(path)
    return path


def test_command(config, *args, processes=None):
    if processes is None:
        command = [sys.executable, 'tools/test.py', *map(str, (config, *args))]
    else:
        checkpoint, *others = map(str, args)
        command = ['bash', 'tools/dist_test.sh', str(config), checkpoint, str(processes), *others]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=120
    )


test_command.__test__ = False


@no_gpu
@pytest.mark.parametrize('weights', ['random', 'color'])
def test_two_processes_equal_one(config, tmp_path, weights):
    results, files = [], []
    for processes in (None, 2):
        folder = tmp_path / f'{weights}_{processes}'
        options = ['--work-dir', folder, '--out', folder / 'out']
        run = test_command(config, weights, *options, processes=processes)
        assert run.returncode == 0, run.stderr
        results.append(json.loads((folder / 'results.json').read_text()))
        written = [path for path in (folder / 'out').rglob('*') if path.is_file()]
        files.append({path.relative_to(folder / 'out'): path.read_bytes() for path in written})
        assert run.stdout.count(f'davis: {results[0]["setting"]} (3 clips)') == 1
    assert results[0] == results[1]
    assert files[0] == files[1]
    assert {f'{name}.json' for name in 'abc'} < {str(path) for path in files[0]}
    assert len([path for path in files[0] if path.suffix == '.png']) == 5 + 6 + 7
    if weights == 'color':
        (scores,) = (tmp_path / 'color_2').glob('color_*/davis_*/clips/b.json')
        scores.unlink()
        again = test_command(config, weights, *options, processes=2)
        assert json.loads((folder / 'results.json').read_text()) == results[0]
        assert scores.exists() and 'done before' in again.stdout + again.stderr
        assert results[0]['setting'] == 'crw, stride 8'
        assert results[0]['metrics']['davis/J_mean'] > 60


def test_a_pretraining_checkpoint(config, tmp_path, capsys):
    state = {f'backbone.{k}': v for k, v in SparseConvNeXtV2(arch=ARCH).state_dict().items()}
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state, meta=dict(iter=3)), path)
    options = ['--work-dir', tmp_path, '--cfg-options', 'test_dataloader.dataset.indices=1']
    assert load_tool('test').main([str(arg) for arg in (config, path, *options)]) == 0
    assert 'davis: crw, stage 3, stride 8 (enlarged_input) (1 clips)' in capsys.readouterr().out
    assert json.loads((tmp_path / 'results.json').read_text())['checkpoint'] == str(path)
    message = failure(capsys, 'test', config, path, *options, 'model.network=target')
    assert f'{path} holds no target network' in message


def test_a_clip_that_breaks_midway_keeps_what_is_done(config, tmp_path, capsys):
    frame = tmp_path / 'davis/JPEGImages/480p/b/00003.png'
    frame.write_bytes(frame.read_bytes()[:2000])
    folders = ['--work-dir', tmp_path, '--out', tmp_path / 'out']
    message = failure(capsys, 'test', config, 'color', *folders)
    assert message.startswith('stopped before the end') and '00003.png' in message
    result = json.loads((tmp_path / 'results.json').read_text())
    assert result['clips'] == 1 and result['metrics']['davis/J_mean'] > 50
    assert result['checkpoint'] == 'color' and '00003.png' in result['error']
    assert Image.open(tmp_path / 'out/a/00004.png').mode == 'P'
    assert (tmp_path / 'out/scores.json').exists()


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.[pcj]*')}


def test_an_interrupted_command_goes_on(config, tmp_path, monkeypatch):
    """Where it was, to the result of one that was not interrupted."""
    scored, stop, score = [], [], DAVISMetric.score

    def watched(self, sample):
        if sample['sequence'] in stop:
            raise KeyboardInterrupt
        scored.append(sample['sequence'])
        return score(self, sample)

    monkeypatch.setattr(DAVISMetric, 'score', watched)

    def run(*options, name='wd'):
        scored.clear()
        folders = ['--work-dir', tmp_path / name, '--out', tmp_path / name / 'out']
        args = [config, 'color', *folders, *options]
        return load_tool('test').main([str(arg) for arg in args]), ''.join(scored)

    assert run(name='whole') == (0, 'abc')
    stop.append('b')
    assert run() == (130, 'a')
    stop.clear()
    assert run() == (0, 'bc')
    whole, resumed = tmp_path / 'whole', tmp_path / 'wd'
    assert (resumed / 'results.json').read_bytes() == (whole / 'results.json').read_bytes()
    assert contents(resumed / 'out') == contents(whole / 'out')
    assert run() == (0, '')

    mask = resumed / 'out/b/00002.png'
    mask.unlink()
    assert run() == (0, 'b') and mask.exists()
    mask.write_bytes((resumed / 'out/b/00003.png').read_bytes())  # another encoder's
    assert run() == (0, 'b')
    assert run('--cfg-options', 'model.rules.topk=3') == (0, 'abc')
    assert run() == (0, 'abc')  # whose predictions are those of topk=3
    assert contents(resumed / 'out') == contents(whole / 'out')
    assert run('--fresh') == (0, 'abc')


def test_results_have_no_nan(config, tmp_path, monkeypatch):
    tool = load_tool('test')
    result = Evaluation('crw', {'davis/J&F': float('nan')}, clips=1)
    monkeypatch.setattr(tool, 'evaluate', lambda cfg, weights, fresh: result)
    tool.run(tool.parse_args([str(config), 'color', '--work-dir', str(tmp_path)]))
    text = (tmp_path / 'results.json').read_text()
    assert 'NaN' not in text and json.loads(text)['metrics'] == {'davis/J&F': None}


@pytest.mark.parametrize(
    'args, message',
    [
        (['{config}', 'none.pth'], 'the checkpoint none.pth does not exist'),
        (['none.py', 'random'], 'the config none.py does not exist'),
        (['configs/videomac_cnxv2s_yt18.py', 'random'], 'this is no benchmark config'),
        (['{config}', 'random', '--cfg-options', 'modle.stage=3'], 'did you mean model'),
        (['{config}', 'random', '--cfg-options', 'model.protocol=x'], "unknown protocol 'x'"),
        (
            ['{config}', 'random', '--cfg-options', 'test_dataloader.dataset.data_root=/none'],
            'data_root /none does not exist',
        ),
    ],
)
def test_bad_arguments_are_one_message(config, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(REPOSITORY)
    args = [arg.format(config=config) for arg in args]
    assert message in failure(capsys, 'test', *args, '--work-dir', tmp_path)
