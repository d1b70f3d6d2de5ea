"""The progress bar: silent for short jobs and on request, on stderr, with all items."""

import time

from mmvideomac.utils.liveness import current_work, tick
from mmvideomac.utils.progress import progress


def test_short_jobs_show_nothing(capsys):
    assert list(progress([1, 2, 3], what='steps')) == [1, 2, 3]
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.strip() == ''


def test_long_jobs_say_what_how_far_and_how_long(capsys, monkeypatch):
    now = time.time()
    clock = iter(range(1000))
    monkeypatch.setattr(time, 'time', lambda: now + 20 * next(clock))
    with progress(total=4, what='clips', unit='clip') as bar:
        bar._time = time.time
        for _ in range(2):
            bar.update()
    printed = capsys.readouterr()
    assert printed.out == ''
    assert 'clips' in printed.err and '2/4' in printed.err and 'clip' in printed.err


def test_every_step_is_a_sign_of_life():
    tick('counting')
    before, _ = current_work()
    with progress(progress([1, 2, 3]), total=5) as bar:
        for _ in bar:
            pass
        bar.update()
    assert current_work() == (before + 7, 'counting')


def test_disabled(capsys):
    with progress(total=1, disable=True) as bar:
        bar.update()
    assert capsys.readouterr().err == ''
