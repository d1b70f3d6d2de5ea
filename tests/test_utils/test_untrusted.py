import os

import pytest

from mmvideomac.utils.untrusted import (
    PIXELS,
    TEXT_BYTES,
    open_regular,
    path_below,
    read_bytes,
    read_json,
    read_text,
    refuse_links_out,
)


@pytest.mark.parametrize(
    'name',
    ['..', 'a/../../b', '/a', '//a/b', 'C:/a', 'c:a', '\\a', '\\\\host\\a', 'a\\..\\b', 'a\0b'],
)
def test_names_that_lead_out(tmp_path, name):
    with pytest.raises(ValueError, match='is no name of a file below'):
        path_below(tmp_path, name)


def test_names_below(tmp_path):
    for name in ('a', 'a/b c.mp4', './a', '...', 'a..b', 'clip 2:1'):
        assert path_below(tmp_path, name) == tmp_path / name


def test_links(tmp_path):
    root, link = tmp_path / 'root', tmp_path / 'link to root'
    (root / 'a').mkdir(parents=True)
    (tmp_path / 'root2').mkdir()
    link.symlink_to(root)
    (root / 'inside').symlink_to(root / 'a')
    (root / 'outside').symlink_to(tmp_path / 'root2')
    for path in ('', 'a', 'inside', 'inside/b'):
        refuse_links_out(root / path, root)
        refuse_links_out(link / path, link)
    for path in ('outside', 'outside/b', 'a/../../root2'):
        with pytest.raises(ValueError, match=r'outside .*root, and follow_symlinks=False'):
            refuse_links_out(root / path, root)


def test_limits_are_settings(tmp_path, monkeypatch):
    PIXELS.check(15360 * 8640)  # 16k
    with pytest.raises(ValueError, match=r'180,000,000 pixels .* MMVIDEOMAC_MAX_PIXELS'):
        PIXELS.check(180_000_000)
    monkeypatch.setenv(PIXELS.variable, '200000000')
    PIXELS.check(180_000_000)
    monkeypatch.setenv(PIXELS.variable, 'many')
    with pytest.raises(ValueError, match='MMVIDEOMAC_MAX_PIXELS is no number'):
        PIXELS.check(1)
    monkeypatch.setenv(TEXT_BYTES.variable, '3')
    (tmp_path / 'a').write_text('1234')
    with pytest.raises(ValueError, match='4 bytes of text'):
        read_bytes(tmp_path / 'a', TEXT_BYTES)


def test_text_and_json(tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(b'a\r\nb\rc\n')
    assert read_text(path) == 'a\nb\nc\n'
    path.write_bytes(b'\xff')
    with pytest.raises(ValueError, match=f'{path} cannot be read as text'):
        read_text(path)
    for content in ('{', '[' * 10**5, '1' * 10**4):
        path.write_text(content)
        with pytest.raises(ValueError):
            read_json(path)
    path.write_text('[1]')
    assert read_json(path) == [1]


def test_pipes_and_devices(tmp_path):
    """They would be waited for, or never end."""
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', '/dev/zero'):
        with pytest.raises(OSError, match='is no regular file'):
            open_regular(path)
