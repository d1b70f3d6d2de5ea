"""Public data sets, fetched into the layout that the configs expect: one file each."""

from .davis import DAVIS2016, DAVIS2017
from .free_clips import FreeClips
from .jhmdb import JHMDB
from .kinetics import Kinetics
from .source import Source
from .vip import VIP
from .youtube_vos import YouTubeVOS

#: By the name that ``tools/data/prepare.py`` takes.
SOURCES: dict[str, Source] = dict(
    davis2017=DAVIS2017(),
    davis2016=DAVIS2016(),
    youtube_vos=YouTubeVOS(),
    vip=VIP(),
    jhmdb=JHMDB(),
    kinetics=Kinetics(),
    free_clips=FreeClips(),
)

__all__ = ['SOURCES', 'Source']
