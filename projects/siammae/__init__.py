"""SiamMAE on mmvideomac: importing it registers its components.

``custom_imports = dict(imports=['mmvideomac', 'projects.siammae'])`` in a config.
"""

import mmvideomac  # noqa: F401  (prepares the environment)

from . import models, pictures, sampling  # noqa: F401
