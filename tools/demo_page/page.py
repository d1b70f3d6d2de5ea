"""What the page shows, and what its buttons do. All work is done by the session."""

from __future__ import annotations

import base64
import functools
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import gradio as gr
import numpy as np

from mmvideomac.apis.interactive_session import Choice, Clip, InteractiveSession, Result
from mmvideomac.apis.marks import MAX_OBJECTS, Stroke
from mmvideomac.datasets.labelled_clips.masks import PALETTE
from mmvideomac.evaluation.encoder_sources import EncoderSource
from mmvideomac.evaluation.features import STRIDE_METHODS
from mmvideomac.utils.errors import REPORTED_ERRORS

from .sessions import Sessions

_FOLDER = Path(__file__).parent
_CLICK, _BRUSH, _ERASER = TOOLS = ('Click points', 'Brush', 'Eraser')
_MATCHES, _COMPONENTS = LOOKS = ('what matches the pixel', 'components (PCA)')
_DEFAULT, _NONE = 'default', 'none'
_FRAME = (
    '<figure class="frame-view ${value.kind}">'
    '<img src="${value.src}" alt="${value.alt}" draggable="false">'
    '<canvas width="${value.width}" height="${value.height}"></canvas></figure>'
)
_PLAY = """
element.addEventListener('click', (event) => {
  if (!event.target.matches('button.play')) return;
  const videos = [...element.querySelectorAll('video')];
  const stop = videos.some((video) => !video.paused);
  for (const video of videos) {
    if (!stop) video.currentTime = 0;
    stop ? video.pause() : video.play();
  }
});
"""
#: A fixed theme without fonts of the network.
THEME = gr.themes.Soft(
    primary_hue='teal',
    font=['system-ui', 'sans-serif'],
    font_mono=['ui-monospace', 'monospace'],
)
CSS = (_FOLDER / 'style.css').read_text(encoding='utf-8')


def build_page(
    sessions: Sessions,
    clips: Sequence[Clip],
    encoders: Sequence[EncoderSource],
    max_mb: float,
    max_frames: int,
) -> gr.Blocks:
    """The page.

    Args:
        sessions: Of its users.
        clips: Samples, by their names; the first is shown at the beginning.
        encoders: To choose from, by their names.
        max_mb: Of an upload.
        max_frames: Of a video.
    """
    actions = _Actions(sessions, clips, encoders)
    names = [encoder.name for encoder in encoders]
    with gr.Blocks(
        title='Follow objects through a video',
        analytics_enabled=False,
        delete_cache=(600, 3600),  # uploads that no session took
    ) as page:
        gr.Markdown(
            '# Follow objects through a video\n'
            'Mark objects or points on a frame, and see how far the features of an encoder '
            'carry them. Nothing is trained.'
        )
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                gr.Markdown('### 1. Video and marks')
                with gr.Row():
                    sample = gr.Dropdown(
                        [clip.name for clip in clips], label='Sample clip', elem_id='sample'
                    )
                    upload = gr.UploadButton(
                        f'Upload a video (up to {max_mb:g} MB)',
                        file_types=['video'],
                        elem_id='upload',
                    )
                view = _frame_view('marks')
                number = gr.Slider(0, 1, step=1, label='Frame', elem_id='frame')
                with gr.Row():
                    tool = gr.Radio(TOOLS, value=_BRUSH, label='Tool', elem_id='tool')
                    label = gr.Slider(
                        1, MAX_OBJECTS, value=1, step=1, label='Object', elem_id='object'
                    )
                    radius = gr.Slider(
                        1, 100, value=12, step=1, label='Radius (pixels)', elem_id='radius'
                    )
                with gr.Row():
                    undo = gr.Button('Undo', size='sm')
                    clear = gr.Button('Clear', size='sm')
                    labels = gr.Button("Use the clip's labels", size='sm', elem_id='labels')
            with gr.Column(scale=2, min_width=320):
                gr.Markdown('### 2. Encoders')
                with gr.Row():
                    first = gr.Dropdown(names, value=names[0], label='Encoder', elem_id='first')
                    second = gr.Dropdown(
                        [_NONE, *names], value=_NONE, label='Beside it', elem_id='second'
                    )
                with gr.Row():
                    stage = gr.Dropdown([_DEFAULT, '1', '2', '3', '4'], label='Stage')
                    stride = gr.Dropdown([_DEFAULT, '4', '8', '16', '32'], label='Stride (pixels)')
                with gr.Row():
                    method = gr.Dropdown([_DEFAULT, *STRIDE_METHODS], label='Stride by')
                    size = gr.Dropdown(
                        [_DEFAULT, '240', '360', '480', '720'], label='Input, short side'
                    )
                measure = gr.Button('What does a frame cost?', size='sm', elem_id='measure')
                costs = gr.Markdown(elem_id='costs')
                with gr.Row():
                    run = gr.Button('Follow', variant='primary', elem_id='run')
                    cancel = gr.Button('Cancel', variant='stop', elem_id='cancel')
                status = gr.Markdown(elem_id='status')
                pace = gr.Markdown(elem_id='pace')
        with gr.Column(visible=False) as box:
            gr.Markdown('### 3. Results')
            scores = gr.Markdown(elem_id='scores')
            players = gr.HTML('', js_on_load=_PLAY, elem_id='players')
            scrub = gr.Slider(0, 1, step=1, label='Frame', elem_id='scrub')
            with gr.Row():
                found = [_frame_view(f'found{i}') for i in range(2)]
            files = gr.File(
                label='Downloads', file_count='multiple', interactive=False, elem_id='files'
            )
            command = gr.Code(
                label='The same on the command line, beside the downloaded marks',
                language='shell',
                elem_id='command',
                interactive=False,
                wrap_lines=True,
                lines=1,
                max_lines=8,
            )
        gr.Markdown('### 4. Look at the features\nPoint at a pixel of the left picture.')
        with gr.Row():
            here = gr.Slider(0, 1, step=1, label='Frame', elem_id='here')
            other = gr.Slider(0, 1, step=1, label='Searched frame', elem_id='other')
            look = gr.Radio(LOOKS, value=_MATCHES, label='Show', elem_id='look')
        with gr.Row():
            looked = [_frame_view(f'look{i}') for i in range(3)]

        pen = [tool, label, radius]
        marking = [number, *pen]
        choice = [first, second, stage, stride, method, size]
        shown = [view, number, labels, box, here, other, *looked, costs, status]

        def when(event: Callable, function: Callable, inputs: list, outputs: list, **options):
            options = dict(api_visibility='private', show_progress='hidden') | options
            event(_answered(function), inputs, outputs, **options)

        latest = dict(trigger_mode='always_last')
        alone = dict(concurrency_id='compute', concurrency_limit=1)
        for event in (page.load, sample.input):
            when(event, actions.open_sample, [sample, *pen], shown)
        when(upload.upload, actions.open_upload, [upload, *pen], [*shown, upload])
        for component in (number, *pen):
            when(component.input, actions.show, marking, [view], **latest)
        when(view.draw, actions.draw, marking, [view], trigger_mode='multiple')
        when(undo.click, actions.undo, marking, [view])
        when(clear.click, actions.clear, marking, [view])
        when(labels.click, actions.mark_labels, marking, [view])
        when(measure.click, actions.cost, choice, [costs], show_progress='full', **alone)
        results = [box, scores, players, scrub, *found, files, command, status]
        when(run.click, actions.follow, choice, results, show_progress='full',
             show_progress_on=[pace], **alone)  # fmt: skip
        when(cancel.click, actions.cancel, [], [status])
        when(scrub.input, actions.scrub, [scrub], found, **latest)
        for event in (here.release, other.release, look.input):
            when(event, actions.look, [*choice, here, other, look], looked, **latest, **alone)
        when(looked[0].hover, actions.look, [*choice, here, other, look], looked[1:], **latest,
             **alone)  # fmt: skip
        page.unload(actions.close)
    page.queue(default_concurrency_limit=8, max_size=64)
    return page


class _Actions:
    """What the buttons do; arguments are the values of components, in their order."""

    def __init__(
        self, sessions: Sessions, clips: Sequence[Clip], encoders: Sequence[EncoderSource]
    ) -> None:
        self._sessions = sessions
        self._clips = {clip.name: clip for clip in clips}
        self._encoders = {encoder.name: encoder for encoder in encoders}

    def open_sample(self, request: gr.Request, name: str, *pen) -> list:
        session = self._session(request)
        session.open(self._clips[name])
        return self._opened(session, *pen)

    def open_upload(self, request: gr.Request, path: str, *pen) -> list:
        session = self._session(request)
        session.open_upload(Path(path), Path(path).name)
        return [*self._opened(session, *pen), None]

    def show(self, request: gr.Request, number: int, *pen) -> dict:
        return _to_draw(self._session(request), number, *pen)

    def draw(self, request: gr.Request, event: gr.EventData, number: int, *pen) -> dict:
        tool, label, radius = pen
        session = self._session(request)
        if tool == _CLICK:
            session.point(number, *event.path[0])
        else:
            session.paint(number, Stroke(0 if tool == _ERASER else label, radius, event.path))
        return _to_draw(session, number, *pen)

    def undo(self, request: gr.Request, number: int, *pen) -> dict:
        self._session(request).undo()
        return self.show(request, number, *pen)

    def clear(self, request: gr.Request, number: int, *pen) -> dict:
        self._session(request).clear()
        return self.show(request, number, *pen)

    def mark_labels(self, request: gr.Request, number: int, *pen) -> dict:
        self._session(request).mark_labels(number)
        return self.show(request, number, *pen)

    def cost(self, request: gr.Request, *choice) -> str:
        session = self._session(request)
        for chosen in self._choices(*choice):
            session.cost(chosen)
        return _costs(session)

    def follow(
        self,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *choice,
    ) -> list:
        session = self._session(request)

        def on_frame(done: int, total: int) -> None:
            progress((done, total), desc='Following', unit='frames')

        results = session.follow(self._choices(*choice), on_frame)
        stop = max(result.start + result.num_frames for result in results) - 1
        start = results[0].start
        return [
            gr.Column(visible=True),
            _table(results),
            _players(results),
            gr.Slider(start, max(stop, start + 1), value=start, step=1),
            *self.scrub(request, start),
            [str(path) for path in session.downloads()],
            '\n'.join(result.command for result in results),
            'Cancelled' if results[-1].cancelled else 'Done',
        ]

    def cancel(self, request: gr.Request) -> str | dict:
        # Before the results are drawn: who cancels waits for nothing else.
        return 'Cancelled' if self._session(request).cancel() else gr.skip()

    def scrub(self, request: gr.Request, number: int) -> list[dict]:
        session = self._session(request)
        pictures = [
            _picture(session.overlay(result, number), f'{result.name}, frame {number}')
            for result in session.results
        ]
        return [*pictures, _EMPTY, _EMPTY][:2]

    def look(self, request: gr.Request, event: gr.EventData, *arguments) -> list[dict]:
        *choice, here, other, kind = arguments
        session = self._session(request)
        place = event._data.get('place') if isinstance(event._data, Mapping) else None
        left = [] if place else [_picture(session.frame(here), f'frame {here}', 'hovers')]
        place = place or [session.size[1] // 2, session.size[0] // 2]
        pictures = [
            session.match(chosen, here, place, other)
            if kind == _MATCHES
            else session.components(chosen, [here, other])[1]
            for chosen in self._choices(*choice)
        ]
        right = [_picture(picture, f'frame {other}: {kind}') for picture in pictures]
        return [*left, *[*right, _EMPTY, _EMPTY][:2]]

    def close(self, request: gr.Request) -> None:
        self._sessions.close(request.session_hash)

    def _session(self, request: gr.Request) -> InteractiveSession:
        return self._sessions.get(request.session_hash)

    def _choices(
        self, first: str, second: str, stage: str, stride: str, method: str, size: str
    ) -> list[Choice]:
        stage, stride, size = (None if x == _DEFAULT else int(x) for x in (stage, stride, size))
        method = None if method == _DEFAULT else method
        names = [first] if second == _NONE else [first, second]
        return [Choice(self._encoders[name], stage, stride, method, size) for name in names]

    def _opened(self, session: InteractiveSession, *pen) -> list:
        """Of all that depends on the video."""
        last = max(session.length - 1, 1)
        return [
            _to_draw(session, 0, *pen),
            gr.Slider(0, last, value=0, step=1),
            gr.Button(visible=session.clip.truth is not None),
            gr.Column(visible=False),
            gr.Slider(0, last, value=0, step=1),
            gr.Slider(0, last, value=last // 2, step=1),
            _picture(session.frame(0), 'frame 0', 'hovers'),
            _EMPTY,
            _EMPTY,
            '',
            _about(session),
        ]


def _answered(function: Callable) -> Callable:
    """The same, with what is at fault as a message on the page."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except REPORTED_ERRORS as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from error

    return wrapper


def _frame_view(name: str) -> gr.HTML:
    return gr.HTML(
        _EMPTY,
        html_template=_FRAME,
        js_on_load=(_FOLDER / 'frame_view.js').read_text(encoding='utf-8'),
        elem_id=name,
        min_width=260,
    )


def _picture(picture: np.ndarray, alt: str, kind: str = 'shows', **pen) -> dict:
    """The value of a frame view: one that is drawn on, hovered over, or neither."""
    data = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    height, width = picture.shape[:2]
    source = f'data:image/jpeg;base64,{base64.b64encode(data).decode()}'
    return dict(kind=kind, src=source, alt=html.escape(alt), width=width, height=height, **pen)


_EMPTY = _picture(np.zeros((1, 1, 3), np.uint8), '', 'empty')


def _to_draw(
    session: InteractiveSession, number: int, tool: str, label: int, radius: float
) -> dict:
    """A frame with its marks, to be drawn on."""
    colour = '#fff' if tool == _ERASER else f'#{PALETTE[3 * label : 3 * label + 3].hex()}'
    radius = 3 if tool == _CLICK else radius
    picture = session.marked(number)
    return _picture(picture, f'frame {number}', 'draws', colour=colour, radius=radius)


def _about(session: InteractiveSession) -> str:
    height, width = session.size
    return f'{html.escape(session.clip.name)}: {session.length} frames of {width}x{height} pixels'


def _costs(session: InteractiveSession) -> str:
    lines = ['| features | a frame | memory |', '|---|---:|---:|']
    for cost in session.costs:
        memory = 'unknown' if cost.memory is None else f'{cost.memory / 2**20:.0f} MiB'
        lines.append(f'| {html.escape(cost.setting)} | {cost.seconds:.2f} s | {memory} |')
    return '\n'.join(lines)


def _table(results: Sequence[Result]) -> str:
    scores = [name for name in ('J&F', 'J', 'F', 'PCK@0.1', 'PCK@0.2') if name in results[0].scores]
    lines = [
        '| encoder | features | frames | s/frame |' + ''.join(f' {name} |' for name in scores),
        '|---|---|---:|---:|' + '---:|' * len(scores),
    ]
    for result in results:
        pace = result.seconds / max(result.num_frames, 1)
        cells = [html.escape(result.name), html.escape(result.setting)]
        cells += [str(result.num_frames), f'{pace:.2f}']
        cells += [f'{result.scores[name]:.1f}' if result.scores else '' for name in scores]
        lines.append(f'| {" | ".join(cells)} |')
    notes = [f'\n{html.escape(result.name)}: {html.escape(result.note)}' for result in results
             if result.note]  # fmt: skip
    return '\n'.join([*lines, *notes])


def _players(results: Sequence[Result]) -> str:
    """The overlays, to be played side by side."""
    figures = [
        f'<figure><video controls muted loop autoplay playsinline '
        f'src="gradio_api/file={html.escape(str(result.overlay))}"></video>'
        f'<figcaption>{html.escape(f"{result.name}: {result.setting}")}</figcaption></figure>'
        for result in results
        if result.num_frames
    ]
    button = '<p><button class="play">Play / pause</button></p>'
    return f'<div class="players">{"".join(figures)}</div>{button}'
