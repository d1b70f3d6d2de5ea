"""The benchmarks: what they time is what they say, and they refuse what cannot work."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from tests.test_engine.tiny import tiny_config

FOLDER = Path(__file__).parents[2] / 'tools' / 'benchmarks'
NAMES = ('common', 'encoders', 'memory', 'encoder_step', 'mask_ratio', 'train_step', 'guards')
SMALL = ['--batch', '2', '--size', '64', '--rounds', '1', '--threads', '1']


@pytest.fixture(scope='module')
def tools():
    """The modules by name, imported as the scripts import each other."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


def test_rounds_are_interleaved_and_rotate(tools):
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in 'abc'}
    times = tools['common'].time_interleaved(functions, rounds=3, warmup=2)
    assert {name: len(seconds) for name, seconds in times.items()} == dict(a=3, b=3, c=3)
    assert ''.join(calls[6:]) == 'abc' + 'bca' + 'cab'
    assert all(sorted(calls[3 * i : 3 * i + 3]) == ['a', 'b', 'c'] for i in range(5))


def test_rows(tools):
    rows = tools['common'].summarise({'ours': [2.0, 1.0, 9.0], 'peer': [5.0, 7.0, 6.0]}, 'ours')
    assert rows == [
        dict(implementation='ours', median_s=2.0, min_s=1.0, ratio=1.0),
        dict(implementation='peer', median_s=6.0, min_s=5.0, ratio=3.0),
    ]


def test_table(tools):
    rows = [dict(implementation='ours', median_s=0.12345), dict(implementation='b', x_bytes=2**21)]
    lines = tools['common'].format_table(rows).splitlines()
    assert lines[0] == '| implementation | median_s | x_bytes |'
    assert lines[2].split('|')[1:-1] == [' ours           ', '    0.123 ', '       - ']
    assert lines[3].split('|')[1:-1] == [' b              ', '        - ', '   2 MiB ']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--rounds', '0'], '--rounds must be at least 1'),
        (['--threads', '0'], '--threads must be at least 1'),
        (['--json', '/nowhere/at/all.json'], 'does not exist'),
        (['--size', '100'], 'multiple of 32'),
        (['--batch', '0'], '--batch must be at least 1'),
    ],
)
def test_bad_options(tools, capsys, arguments, message):
    with pytest.raises(SystemExit):
        tools['encoder_step'].parse(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('encoder', ['vit_small', 'resnet7', 'convnextv2_nosuch'])
def test_unknown_encoders(tools, encoder):
    with pytest.raises(ValueError, match='unknown'):
        tools['encoders'].build_ours(encoder)


@pytest.mark.parametrize('name', ['convnext_atto', 'convnextv2_atto', 'resnet18', 'resnet50'])
def test_peers_compute_the_same_function(tools, name):
    """SparK's on the visible sites, the dense one on whole images."""
    encoders = tools['encoders']
    torch.manual_seed(0)
    builders = (encoders.build_ours, encoders.build_spark, encoders.build_dense)
    ours, spark, dense = (build(name).double() for build in builders)
    with torch.no_grad():
        for key, value in ours.named_parameters():
            if key.endswith('gamma'):
                value.normal_()
            # With biases SparK's GRN takes in what masked sites hold.
            elif key.endswith('bias') and 'norm' not in key:
                value.zero_()
    assert not dense.load_state_dict(ours.state_dict()).missing_keys
    left = spark.load_state_dict(ours.state_dict(), strict=False)
    assert not left.missing_keys and all(key.startswith('norm3') for key in left.unexpected_keys)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    mask = encoders.random_mask(2, (2, 2), 0.5, seed=0)
    visible = ~mask[:, None]
    with torch.no_grad():
        expected = ours(images, mask)[-1]
        theirs = encoders.spark_forward(spark, images, mask)
        if left.unexpected_keys:
            theirs = ours.norm3(theirs)
        torch.testing.assert_close(theirs * visible, expected)
        torch.testing.assert_close(dense(images)[-1], ours(images)[-1])


@pytest.mark.parametrize(('ratio', 'kept'), [(0.0, 49), (0.75, 12), (0.9, 4), (0.95, 2)])
def test_masks_keep_as_many_patches_as_in_training(tools, ratio, kept):
    mask = tools['encoders'].random_mask(3, (7, 7), ratio, seed=0)
    assert (~mask).flatten(1).sum(1).tolist() == [kept] * 3
    with pytest.raises(ValueError, match='none of 49'):
        tools['encoders'].random_mask(1, (7, 7), 0.99, seed=0)


def test_steps_leave_gradients_in_all_parameters(tools):
    module = tools['encoder_step']
    args = module.parse(['--encoder', 'convnextv2_atto', *SMALL])
    steps = module.build_steps(args)
    assert list(steps)[:2] == ['native', 'masked']
    assert [name.split(' ')[0] for name in list(steps)[-2:]] == ['spark', 'dense']
    for step in steps.values():
        step()
        assert all(parameter.grad.any() for parameter in step.encoder.parameters())


def test_products_alone(tools):
    module = tools['encoder_step']
    options = ['--encoder', 'convnextv2_atto', '--implementations', 'native', '--products', *SMALL]
    steps = module.build_steps(module.parse(options))
    module.add_products(steps, steps['native'])
    assert list(steps) == ['native', 'products of native', 'native, blas', 'native, onednn']
    for step in steps.values():
        step()
    blocks, others = 2 + 2 + 6 + 2, 4  # others: the stem and three mergings
    # A block has two products and each of them three passes; the images need no gradient.
    assert len(steps['products of native'].calls) == 3 * (2 * blocks + others) - 1


def test_disagreement_is_an_error(tools):
    module = tools['encoder_step']
    args = module.parse(['--encoder', 'convnextv2_atto', '--implementations', 'masked', *SMALL])
    steps = module.build_steps(args)
    with torch.no_grad():
        steps['masked'].encoder.stages[2][1].depthwise_conv.bias[0] += 0.5
    with pytest.raises(ArithmeticError, match='masked and native differ'):
        module.check_agreement(steps)


def test_encoder_step_as_a_script(tmp_path):
    command = [sys.executable, FOLDER / 'encoder_step.py', '--encoder', 'convnextv2_atto', *SMALL]
    command += ['--json', tmp_path / 'rows.json', '--implementations', 'masked', 'dense']
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'convnextv2_atto, forward + backward' in result.stdout and 'ETA' in result.stderr
    rows = json.loads((tmp_path / 'rows.json').read_text())['rows']
    assert [row['implementation'].split(' ')[0] for row in rows] == ['native', 'masked', 'dense']
    assert all(set(row) == {'implementation', 'median_s', 'min_s', 'ratio'} for row in rows)
    for row in rows:
        assert row['ratio'] == row['median_s'] / rows[0]['median_s'] and row['min_s'] > 0


def test_mask_ratio(tools, tmp_path):
    files = [tmp_path / 'rows.json', tmp_path / 'plot.png']
    arguments = ['--encoder', 'convnextv2_atto', '--ratios', '0', '0.5', *SMALL]
    arguments += ['--json', files[0], '--plot', files[1]]
    assert tools['mask_ratio'].main([str(argument) for argument in arguments]) == 0
    rows = json.loads(files[0].read_text())['rows']
    assert [(row['mask_ratio'], row['hidden']) for row in rows] == [
        (0, 0),
        (0.5, 0.5),
        (0.75, 0.75),
        (None, None),
    ]
    assert rows[2]['ratio'] == 1 and rows[2]['implementation'] == 'native'
    assert rows[3]['implementation'].startswith('dense')
    assert files[1].read_bytes().startswith(b'\x89PNG')


def test_allocated_peak_is_exact(tools):
    def two_at_once():
        for _ in range(3):
            first = torch.empty(1000, 256)
            del first
        held = torch.empty(500, 256), torch.empty(500, 256)
        return held[0].size(), torch.empty(100, 256)

    assert tools['memory'].allocated_peak(two_at_once) == 1100 * 256 * 4


@pytest.fixture
def config(tmp_path):
    init_default_scope('mmvideomac')
    config = tiny_config(tmp_path)
    config.custom_imports.imports = ['mmvideomac']
    del config.default_hooks['record']  # of the tests
    config.default_hooks.ema_target = dict(type='EMATargetHook', momentum=0.5)
    config.optim_wrapper.optimizer.lr = 100.0  # the benchmark takes 1e-4 of it
    config.dump(tmp_path / 'config.py')
    return tmp_path / 'config.py'


def test_training_step_trains(tools, config):
    module = tools['train_step']
    args = module.parse(['--config', str(config), '--batch', '3', '--threads', '1'])
    step = module.TrainingStep(args, 'native')
    before = {key: value.clone() for key, value in step.model.state_dict().items()}
    losses = [step()['loss'].item() for _ in range(5)]
    after = step.model.state_dict()
    assert losses[-1] < losses[0]
    for name in ('backbone', 'target.backbone'):
        key = f'{name}.stages.0.0.depthwise_conv.weight'
        assert not torch.equal(before[key], after[key])
    parameters = sum(p.nbytes for p in step.model.parameters() if p.requires_grad)
    # weights, target, two moments
    assert 4 * parameters < step.state_bytes() < 4.1 * parameters + 10_000


def test_training_step_runs_backward_outside_autocast(tools, config):
    module = tools['train_step']
    options = ['--config', str(config), '--batch', '2', '--threads', '1', '--dtype', 'bfloat16']
    step = module.TrainingStep(module.parse(options), 'native')
    seen = dict(forward=set(), backward=set())
    layer, (weight, *_) = step.model.head, step.model.head.parameters()
    layer.register_forward_hook(lambda *_: seen['forward'].add(torch.is_autocast_enabled('cpu')))
    weight.register_hook(lambda _: seen['backward'].add(torch.is_autocast_enabled('cpu')))
    step()
    assert seen == dict(forward={True}, backward={False})
    with pytest.raises(SystemExit):
        module.parse([*options, '--dtype', 'float16'])


def test_training_steps_of_backends_agree_or_stop(tools, config):
    module = tools['train_step']
    args = module.parse(['--config', str(config), '--batch', '2', '--threads', '1'])
    steps = {name: module.TrainingStep(args, name) for name in ('native', 'masked')}
    module.check_agreement(steps)
    with torch.no_grad():
        steps['masked'].model.head.pred.bias += 1
    with pytest.raises(ArithmeticError, match='differ between backends'):
        module.check_agreement(steps)


def test_train_step_as_a_script(config, tmp_path):
    command = [sys.executable, FOLDER / 'train_step.py', '--config', config, '--batch', '2']
    command += ['--rounds', '1', '--backends', 'native', '--json', tmp_path / 'rows.json']
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / 'rows.json').read_text())['rows']
    assert row['pairs_per_s'] == 2 / row['median_s']
    assert row['peak_bytes'] == row['state_bytes'] + row['step_bytes'] > row['state_bytes'] > 0
    assert row['rss_peak_bytes'] is None or row['rss_peak_bytes'] > 0


def test_guards_are_all_that_differs(tools, config, tmp_path):
    module = tools['guards']
    args = module.parse(['--config', str(config), '--batch', '2', '--threads', '1'])
    states = []
    for guarded in (False, True):
        iteration = module.Iteration(args, guarded, str(tmp_path))
        hooks = {type(hook).__name__ for hook in iteration.runner.hooks}
        assert ('NonFiniteStepHook' in hooks) == ('PreemptionHook' in hooks) == guarded
        assert hasattr(iteration.runner.optim_wrapper, 'max_skipped_steps') == guarded
        assert {'EMATargetHook', 'AtomicCheckpointHook', 'LoggerHook'} <= hooks
        before = iteration.runner.model.head.pred.weight.clone()
        for _ in range(2):
            iteration()
        states.append(iteration.runner.model.state_dict())
        assert not torch.equal(before, iteration.runner.model.head.pred.weight)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
