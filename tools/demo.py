"""A page in the browser: mark objects on a video, and see encoders follow them.

python tools/demo.py --encoder CHECKPOINT timm:resnet50 color
    then open the address that it prints

Encoders are named here, never by the page: CHECKPOINT, CONFIG:CHECKPOINT, timm:NAME, color, ...,
with settings of the features behind an @ (CHECKPOINT@stage=3,stride=8). Without any: the
checkpoint of the quickstart if there is one, a random encoder, and colours.

It listens on this machine only, and needs no network. Whoever can reach the address can use it:
there is no password. Uploads lie in a temporary folder until their page is closed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

# Read when torch loads: threads that spin take the cores from the other processes.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
# Read when OpenCV opens a video: damage is told in one message of ours.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')

from demo_page.sessions import Sessions

from mmvideomac.apis.interactive_session import InteractiveSession, sample_clips
from mmvideomac.engine.launch import check_device
from mmvideomac.evaluation.encoder_sources import EncoderSource, parse_encoder, unique_names
from mmvideomac.utils.errors import UserError, reports_errors

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / 'work_dirs' / 'quickstart'
LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')
#: Nothing from elsewhere, and nothing to elsewhere; gradio's page is made of inline scripts.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--encoder', nargs='+', metavar='SPEC', help='encoders to choose from')
    add(
        '--samples',
        type=Path,
        default=QUICKSTART / 'samples',
        metavar='FOLDER',
        help='labelled clips, made if not there; default: work_dirs/quickstart/samples',
    )
    add('--host', default='127.0.0.1', help='address to listen on; default: this machine only')
    add('--port', type=int, help='default: the first free one from 7860')
    add('--max-mb', type=float, default=200, metavar='N', help='of an upload; default: 200')
    add('--max-frames', type=int, default=600, metavar='N', help='of a video; default: 600')
    add('--device', choices=['cpu', 'cuda'], help='default: a GPU if there is one')
    return parser.parse_args(argv)


def default_encoders() -> list[str]:
    """The quickstart's checkpoint if there is one, and what to compare it with."""
    last = QUICKSTART / 'run' / 'last_checkpoint'
    trained = [last.read_text().strip()] if last.is_file() else []
    return [*trained, 'convnextv2_atto:random', 'color']


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        UserError, ValueError, OSError: for what is at fault.
    """
    if args.max_mb <= 0 or args.max_frames < 2:
        raise ValueError('--max-mb must be above 0, and --max-frames at least 2')
    check_device(args.device or 'auto', local_rank=0)
    encoders = unique_names([parse_encoder(spec) for spec in args.encoder or default_encoders()])
    # Before gradio is imported, which would ask whether there is a newer one.
    os.environ.update(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1')
    if find_spec('gradio') is None:
        raise UserError("the page needs gradio: pip install -e '.[demo]'")
    make_samples(args.samples)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    make = partial(InteractiveSession, max_frames=args.max_frames, device=args.device)
    with Sessions(make) as sessions:
        serve(args, sessions, encoders)


def make_samples(out: Path) -> None:
    """Have tools/data/make_sample_videos.py make clips, unless there are some."""
    manifest = out / 'manifest.json'
    if manifest.is_file() and json.loads(manifest.read_text(encoding='utf-8')).get('complete'):
        return
    tool = ROOT / 'tools' / 'data' / 'make_sample_videos.py'
    if subprocess.run([sys.executable, tool, out]).returncode:
        raise UserError(f'no sample clips could be made in {out}, see above')


def serve(args: argparse.Namespace, sessions: Sessions, encoders: Sequence[EncoderSource]) -> None:
    """Show the page until interrupted."""
    # Where gradio keeps uploads; it serves files of no other folder.
    os.environ['GRADIO_TEMP_DIR'] = str(sessions.root)
    from demo_page.page import CSS, THEME, build_page
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    page = build_page(sessions, sample_clips(args.samples), encoders, args.max_mb, args.max_frames)
    # Another site must not reach the page through a name of its own for this machine.
    hosts = list(LOOPBACK) if args.host in LOOPBACK else ['*']
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(_Headers)]
    _, address, _ = page.launch(
        server_name=args.host,
        server_port=args.port,
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=int(args.max_mb * 1e6),
        allowed_paths=[],
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        app_kwargs=dict(middleware=middleware, docs_url=None, redoc_url=None, openapi_url=None),
        theme=THEME,
        css=CSS,
    )
    print(f'Open {address} in a browser; Ctrl-C ends it.', flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print('Closing', flush=True)
    finally:
        page.close(verbose=False)


class _Headers:
    """Adds what the browser may load to every answer (ASGI)."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_headers(message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [
                    *message['headers'],
                    (b'content-security-policy', POLICY.encode()),
                    (b'x-content-type-options', b'nosniff'),
                    (b'referrer-policy', b'no-referrer'),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
