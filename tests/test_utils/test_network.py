"""Servers that are silent."""

import socket

import pytest
import torch

from mmvideomac.utils import network


def test_a_silent_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(network, 'SILENCE', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as server:
        url = f'http://127.0.0.1:{server.getsockname()[1]}/weights.pth'
        with pytest.raises(OSError, match='timed out'), network.network_timeout():
            torch.hub.download_url_to_file(url, str(tmp_path / 'file'), progress=False)
    assert socket.getdefaulttimeout() is None
