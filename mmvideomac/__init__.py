"""VideoMAC on OpenMMLab: masked video modelling with ordinary ConvNets.

Importing the package prepares the environment (:mod:`mmvideomac.utils.environment`),
registers every component, so ``custom_imports = dict(imports=['mmvideomac'])``
in a config is all that mmengine needs, lets configs inherit from ``'mmvideomac::...'``,
makes ``projects`` importable (:mod:`mmvideomac.utils.config`), and has mmengine load
``mmvideomac://NAME`` (:mod:`mmvideomac.checkpoint.model_index`).
"""

from mmvideomac.utils.environment import prepare_environment

# Must run before anything imports torchvision, mmpretrain or builds a Runner.
prepare_environment()

from mmvideomac import datasets, engine, evaluation, models, visualization  # noqa: E402, F401
from mmvideomac.apis.encoders import get_encoder, list_encoders  # noqa: E402
from mmvideomac.checkpoint import model_index  # noqa: E402, F401
from mmvideomac.utils.config import find_projects, resolve_shipped_configs  # noqa: E402
from mmvideomac.version import __version__  # noqa: E402

find_projects()
resolve_shipped_configs()

__all__ = ['__version__', 'get_encoder', 'list_encoders']
