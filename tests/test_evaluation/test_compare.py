import torch

from mmvideomac.evaluation.compare import benchmark_config, evaluation_folder, short_names, table

MODEL = dict(backbone=dict(type='SparseConvNeXtV2', arch='atto'))


def config(task='davis', protocol='dino', model=None, **dataset):
    return benchmark_config(task, protocol, {**MODEL, **(model or {})}, dataset)


def test_a_benchmark_of_another_encoder():
    cfg = config('vip', 'crw', dict(stage=2), data_root='there', max_frames=3)
    assert cfg.model.backbone == MODEL['backbone']
    assert (cfg.model.task, cfg.model.protocol, cfg.model.stage) == ('vip', 'crw', 2)
    assert cfg.test_dataloader.dataset.data_root == 'there'
    assert cfg.test_dataloader.dataset.max_frames == 3


def test_a_folder_is_that_of_weights_and_settings(tmp_path):
    paths = [tmp_path / name / 'epoch_1.pth' for name in ('one', 'same', 'other')]
    for path, value in zip(paths, (1, 1, 2), strict=True):
        path.parent.mkdir()
        torch.save(dict(weight=torch.full((3,), value)), path)
    one, same, other = (evaluation_folder(config(), str(path)) for path in paths)
    assert one == same != other
    assert one.parts[0].startswith('epoch_1_') and one.parts[1].startswith('davis_dino_')
    changed = [
        config('vip'),
        config(protocol='crw'),
        config(model=dict(stage=2)),
        config(model=dict(stride=16)),
        config(model=dict(stride_method='resample')),
        config(model=dict(rules=dict(topk=7))),
        config(model=dict(network='target')),
        config(max_frames=3),
        config(sequences=['a']),
    ]
    folders = {evaluation_folder(cfg, str(paths[0])) for cfg in changed}
    assert len(folders | {one}) == len(changed) + 1
    placed = config()
    placed.work_dir = placed.test_evaluator.out_dir = 'anywhere'
    assert evaluation_folder(placed, str(paths[0])) == one
    assert evaluation_folder(config(), 'random').parts == ('random', one.parts[1])
    urls = {evaluation_folder(config(), f'https://{host}/a.pth').parts[0] for host in 'xy'}
    assert len(urls) == 2 and all(name.startswith('a_') for name in urls)


def test_names_are_as_long_as_they_must_be():
    assert short_names(['a/x.pth', 'b/y.pth']) == {'a/x.pth': 'x.pth', 'b/y.pth': 'y.pth'}
    assert short_names(['a/x.pth', 'b/x.pth']) == {'a/x.pth': 'a/x.pth', 'b/x.pth': 'b/x.pth'}


def test_a_table_marks_what_is_not_whole():
    row = dict(encoder='e', setting='dino', clips=1)
    rows = [
        dict(row, task='vip', metrics={'vip/mIoU': 51.234}, error=None),
        dict(row, task='davis', metrics={'davis/J&F': 40.0}, error='frame 3 is broken'),
    ]
    head, _, line, _, note = table(rows).splitlines()
    assert head == '| encoder | protocol, features | davis/J&F | vip/mIoU |'
    assert line == '| e | dino | 40.00* | 51.23 |'
    assert note == '\\* e, davis: frame 3 is broken'
