"""VideoMAC on OpenMMLab: masked video modelling with ordinary ConvNets.

Importing the package prepares the environment (:mod:`mmvideomac.utils.compat`)
and registers every component, so ``custom_imports = dict(imports=['mmvideomac'])``
in a config is all that mmengine needs.
"""

from mmvideomac.utils.compat import prepare_environment

# Must run before anything imports torchvision, mmpretrain or builds a Runner.
prepare_environment()

from mmvideomac import datasets, engine, models, visualization  # noqa: E402, F401
from mmvideomac.evaluation import metrics  # noqa: E402, F401
from mmvideomac.version import __version__  # noqa: E402

__all__ = ['__version__']
