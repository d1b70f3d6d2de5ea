"""The part of the packaging that setup.cfg cannot express."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Puts configs, tools, projects and the model index where OpenMMLab has them.

    ``mmvideomac/.mim`` is where mim and ``mmvideomac::`` in a config look. An editable
    installation uses the folders of the repository: no copy that could be outdated.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib, 'mmvideomac', '.mim')
        shutil.rmtree(mim, ignore_errors=True)  # of an earlier build
        # Shell scripts set up the repository, and work nowhere else.
        ignore = shutil.ignore_patterns('__pycache__', '*.sh', 'tests')
        for folder in ('configs', 'tools', 'projects'):
            shutil.copytree(folder, mim / folder, ignore=ignore)
        shutil.copy('model-index.yml', mim)


setup(cmdclass=dict(build_py=BuildWithConfigs))
