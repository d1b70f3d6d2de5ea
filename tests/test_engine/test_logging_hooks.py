import json

import pytest
import torch

from .toy import toy_config, train


def test_logs_pairs_per_second_and_memory(tmp_path, capsys):
    runner, _ = train(toy_config(tmp_path, epochs=2, **{'log_level': 'INFO'}))
    hub = runner.message_hub
    window = runner.log_processor.window_size
    seconds = hub.get_scalar('train/time').mean(window)
    assert hub.get_scalar('train/pairs_per_s').current() == pytest.approx(4 / seconds)

    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if 'Epoch(train) [1][ 5/12]' in line)
    for name in ('eta', 'loss_a', 'loss_b', 'momentum', 'pairs_per_s', 'memory', 'lr'):
        assert f'{name}: ' in line
    scalars = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert {'pairs_per_s', 'momentum', 'memory'} <= json.loads(scalars[0]).keys()


@pytest.mark.parametrize('interval', [1, 5])
def test_losses_are_logged_as_by_mmengine(tmp_path, interval):
    histories = []
    for kind in ('RuntimeInfoHook', 'DeferredRuntimeInfoHook'):
        folder = tmp_path / kind
        hooks = {
            'default_hooks.runtime_info': dict(type=kind),
            'default_hooks.logger.interval': interval,
        }
        train(toy_config(folder, epochs=2, **hooks))
        lines = next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()
        logged = [[json.loads(line).get(k) for k in ('loss', 'loss_a', 'step')] for line in lines]
        saved = torch.load(folder / 'epoch_1.pth', weights_only=False)['message_hub']
        buffers = [saved['log_scalars'][f'train/{name}'] for name in ('loss', 'loss_a')]
        histories.append((logged, [buffer.data[0].tolist() for buffer in buffers]))
    assert histories[0] == histories[1] and len(histories[0][1][0]) == 12


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU mmengine logs its memory')
def test_memory_is_resident_mebibytes(tmp_path):
    runner, _ = train(toy_config(tmp_path, epochs=2))
    memory = runner.message_hub.get_scalar('train/memory').current()
    assert 50 < memory < 50_000
