"""Make sample clips from real photographs in known motion.

For everyone without data at hand: video files for pre-training, and small
DAVIS-, VIP- and JHMDB-style sets with exact masks, body parts and joints.
Nothing is downloaded: the photographs ship with scikit-image.

    python tools/data/make_sample_videos.py data/samples
"""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
from sample_videos.layouts import Clip, lists, plan
from sample_videos.photos import CREDITS

from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.files import write_json
from mmvideomac.utils.progress import progress

VERSION = 1  # of the rendering: raised when the same arguments give other pictures
MANIFEST = 'manifest.json'
SMALLEST = 64


def make_samples(
    out: Path,
    clips: int = 24,
    frames: int = 48,
    size: tuple[int, int] = (240, 320),
    seed: int = 0,
) -> bool:
    """Write the sample set under ``out``.

    A complete set made with the same arguments is left alone; any other set
    made by this function is replaced, file by file. Other files are not touched.

    Args:
        out: folder to write into, made if missing.
        clips: number of video files.
        frames: length of every clip.
        size: (height, width) in pixels, even, at least 64.
        seed: the set is a pure function of the arguments.

    Returns:
        Whether anything had to be made.

    Raises:
        ValueError: if an argument is out of range.
        OSError: if ``out`` cannot be written.
    """
    if clips < 1 or frames < 2:
        raise ValueError(f'need at least 1 clip of 2 frames, got {clips} of {frames}')
    if min(size) < SMALLEST or size[0] % 2 or size[1] % 2:
        raise ValueError(f'size must be even and at least {SMALLEST}, got {size[0]}x{size[1]}')
    arguments = dict(version=VERSION, clips=clips, frames=frames, size=list(size), seed=seed)
    todo = plan(clips)
    texts = {'README.txt': _readme(arguments), **lists()}
    files = [*texts, *(name for clip in todo for name in clip.files(frames))]

    out.mkdir(parents=True, exist_ok=True)
    old = _read_manifest(out)
    if old.get('complete') and old['arguments'] == arguments and _all_there(out, files):
        return False
    _remove(out, set(old.get('files', [])) - set(files))
    # Written first, so that what an interrupted run left is known to be ours.
    manifest = dict(arguments=arguments, complete=False, files=files)
    write_json(out / MANIFEST, manifest)
    for name, text in texts.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding='utf-8')
    # Not fork: OpenCV and decord hang in a child when the parent has used their threads.
    context = get_context('spawn')
    quiet = partial(cv2.setNumThreads, 1)
    with ProcessPoolExecutor(os.cpu_count(), context, initializer=quiet) as pool:
        jobs = [pool.submit(Clip.write, clip, out, seed, size, frames) for clip in todo]
        try:
            for job in progress(
                as_completed(jobs), total=len(jobs), what='sample clips', unit='clip'
            ):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_json(out / MANIFEST, manifest | dict(complete=True))
    return True


def _all_there(out: Path, files: list[str]) -> bool:
    return all((out / name).is_file() and (out / name).stat().st_size for name in files)


def _remove(out: Path, files: set[str]) -> None:
    """Remove files, and the folders that they leave empty."""
    for name in files:
        (out / name).unlink(missing_ok=True)
    folders = {folder for name in files for folder in Path(name).parents}
    for folder in sorted(folders, reverse=True):  # the deepest first
        if (out / folder).is_dir() and not any((out / folder).iterdir()):
            (out / folder).rmdir()


def _read_manifest(out: Path) -> dict:
    try:
        return json.loads((out / MANIFEST).read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _readme(arguments: dict) -> str:
    credits = '\n'.join(f'  {name}: {credit}' for name, credit in CREDITS.items())
    height, width = arguments['size']
    options = ' '.join(f'--{name} {arguments[name]}' for name in ('clips', 'frames', 'seed'))
    options += f' --size {height}x{width}'
    return f"""Sample clips: real photographs in known motion
Made by tools/data/make_sample_videos.py {options}

videos/   MPEG-4 clips for pre-training (25 fps): objects cut out of photographs, and a
          jointed person, move in front of a photograph under a slow hand-held camera.
davis/    DAVIS-2017 layout: JPEGImages/480p, Annotations/480p (palette PNG, 0 =
          background), ImageSets/2017/val.txt. The folder is named 480p as in DAVIS; the
          frames have the size given above.
vip/      VIP layout: VIP_Fine/Images, VIP_Fine/Annotations/Category_ids (0..19),
          VIP_Fine/lists/val_videos.txt. One frame in 5 of a clip is there (25 in VIP).
jhmdb/    JHMDB layout: Rename_Images, joint_positions (pos_img, 2 x 15 x frames, 1-based
          pixels), splits (2 = test).

Masks and parts are computed at pixel centres from the outlines, joints from the skeleton:
they are exact, also under occlusion. A joint may be hidden behind another part.
The labelled clips are other clips than those in videos/, made of the same photographs, so
scores on them say that the tools work, not how good a model is.

Photographs, as shipped with scikit-image:
{credits}
"""


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition('x')
    return int(height), int(width)


@reports_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder to write, e.g. data/samples')
    parser.add_argument('--clips', type=int, default=24, help='video files (default 24)')
    parser.add_argument('--frames', type=int, default=48, help='frames per clip (default 48)')
    parser.add_argument('--size', type=_parse_size, default='240x320', metavar='HxW')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    made = make_samples(args.out, args.clips, args.frames, args.size, args.seed)
    print(f'{args.out}: {"made" if made else "complete already, nothing to do"}')


if __name__ == '__main__':
    sys.exit(main())
