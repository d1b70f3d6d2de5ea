import signal
import threading
import time
import weakref

import pytest

from mmvideomac.datasets.time_limit import TimeLimitExceeded, call_within


def alarm_is_off():
    off = signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    return off and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.fixture(autouse=True)
def alarm():
    """As a program finds it that nobody has told of alarms."""
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGALRM, before)


def test_in_time():
    assert call_within(5, divmod, 7, 2) == call_within(None, divmod, 7, 2) == (3, 1)
    assert alarm_is_off()
    with pytest.raises(ZeroDivisionError):
        call_within(5, divmod, 7, 0)
    assert alarm_is_off()


def test_too_late():
    def hang():
        try:
            time.sleep(20)
        except Exception:
            pytest.fail('taken for an error of the file')

    start = time.monotonic()
    with pytest.raises(TimeLimitExceeded, match=r'0\.1 s'):
        call_within(0.1, hang)
    assert 0.1 <= time.monotonic() - start < 10
    assert alarm_is_off()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_an_alarm_that_is_lost_is_repeated():
    interrupted = []

    def callback(_):
        try:
            time.sleep(20)
        except TimeLimitExceeded:
            interrupted.append('while freeing')
            raise  # Python prints and forgets it here

    def hang():
        owner = threading.Event()
        reference = weakref.ref(owner, callback)
        del owner
        assert reference() is None
        time.sleep(20)

    with pytest.raises(TimeLimitExceeded):
        call_within(0.1, hang)
    assert interrupted
    assert alarm_is_off()


def test_alarms_of_others_and_other_threads_are_left_alone():
    signal.signal(signal.SIGALRM, others := lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 60)
    call_within(0.01, time.sleep, 0.05)
    assert signal.getsignal(signal.SIGALRM) is others
    assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    results = []
    thread = threading.Thread(
        target=lambda: results.append(call_within(0.01, time.sleep, 0.05) is None)
    )
    thread.start()
    thread.join()
    assert results == [True]
