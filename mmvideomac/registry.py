"""Registries of mmvideomac, children of mmpretrain's.

With mmpretrain as the parent, a config of scope ``mmvideomac`` may use our names
and mmpretrain's alike, unscoped; a config of scope ``mmpretrain`` writes
``mmvideomac.SparseConvNeXt``. A name that both packages use is ours in our scope.
"""

from mmengine.registry import Registry
from mmpretrain import registry as _mmpretrain

DATA_SAMPLERS: Registry
DATASETS: Registry
HOOKS: Registry
LOOPS: Registry
METRICS: Registry
MODELS: Registry
OPTIM_WRAPPERS: Registry
OPTIM_WRAPPER_CONSTRUCTORS: Registry
RUNNERS: Registry
TRANSFORMS: Registry
VISBACKENDS: Registry
VISUALIZERS: Registry
WEIGHT_INITIALIZERS: Registry

__all__ = [*_mmpretrain.__all__, 'VIDEO_READERS']

for _name in _mmpretrain.__all__:
    _parent = getattr(_mmpretrain, _name)
    globals()[_name] = Registry(
        _parent.name,
        parent=_parent,
        scope='mmvideomac',
        # The parent's locations too: a child registry imports only its own
        # before it gives up on a name.
        locations=['mmvideomac', *_parent._locations],
    )
    # A child of the root too, where other packages (mmdet, mmseg) look for the scope
    # of 'mmvideomac.SparseConvNeXtV2'.
    if (_root := _parent._get_root_registry()) is not _parent:
        _root._add_child(globals()[_name])

#: Decoders of video files and frame folders (:mod:`mmvideomac.datasets`).
VIDEO_READERS = Registry('video reader', scope='mmvideomac', locations=['mmvideomac'])
